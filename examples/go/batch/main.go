// Publishes a hundred readings at once, one of which is wrong, and takes them in batches.
//
//	go run ./batch mesh://127.0.0.1:7400
package main

import (
	"context"
	"fmt"
	"strings"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

func main() {
	ctx := context.Background()
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	// They share writes of the log. Each has a result of its own, in their order.
	readings := make([]any, 100)
	for at := range readings {
		readings[at] = meshwire.Event{Type: "reading", Data: meshwire.JSON(at + 1)}
	}
	readings[41] = strings.Repeat("x", 5<<20)
	kept := 0
	for _, result := range mesh.PublishBatch(ctx, "readings", readings...) {
		if e, isError := result.Err.(*meshwire.Error); isError {
			fmt.Println("one is refused:", e.Code)
		} else {
			kept++
		}
	}
	fmt.Println(kept, "are kept")
	subscription := try.To(mesh.Subscribe(ctx, "readings", meshwire.Group("archive")))
	rows, sum := 0, 0
	for rows < 99 {
		// One is waited for; what else is at hand comes with it, up to a batch's size.
		for _, d := range try.To(subscription.NextBatch(ctx, 32)) {
			var reading int
			try.Do(d.JSON(&reading))
			rows, sum = rows+1, sum+reading
			// Here it would be written. Acks of neighbours are one word.
			d.Ack()
		}
	}
	fmt.Printf("archived %d readings, their sum is %d\n", rows, sum)
}
