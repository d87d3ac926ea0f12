// Three members of a group share its jobs; each job is done once, and the jobs of one customer stay in order.
//
//	go run ./consumer_group mesh://127.0.0.1:7400
package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	customers := []string{"ada", "ben", "cy"}
	for job := range 12 {
		try.To(mesh.Publish(ctx, "jobs", job+1, meshwire.Type("job.asked"), meshwire.Key(customers[job%3])))
	}
	mu, members := sync.Mutex{}, sync.WaitGroup{}
	count, done := 0, map[string][]string{}
	// nil acks; an error is a nack, and the job comes again after a while.
	work := func(ctx context.Context, d *meshwire.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		done[d.Key] = append(done[d.Key], d.Text())
		if count++; count == 12 {
			stop()
		}
		return nil
	}
	for range 3 {
		// What a member is sent ahead of its handlers no other one can have meanwhile.
		members.Add(1)
		go func() {
			defer members.Done()
			mesh.Consume(ctx, "jobs", work, meshwire.Group("workers"), meshwire.Prefetch(2, 1<<20))
		}()
	}
	members.Wait()
	for _, customer := range customers {
		fmt.Printf("%s: [%s]\n", customer, strings.Join(done[customer], ", "))
	}
}
