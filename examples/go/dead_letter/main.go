// Bills three orders, one of which has no price: it is tried twice, becomes a dead letter, is looked at, given back once billing knows what
// to do, and is done.
//
//	go run ./dead_letter mesh://127.0.0.1:7400
package main

import (
	"context"
	"fmt"
	"time"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

// bill bills so many deliveries; what fails comes again, and after two failures no more.
func bill(ctx context.Context, mesh *meshwire.Client, count int, isStrict bool) {
	orders := try.To(mesh.Subscribe(ctx, "priced-orders", meshwire.Group("billing"), meshwire.MaxFailures(2), meshwire.Backoff(50*time.Millisecond, time.Second)))
	for range count {
		d, order := try.To(orders.Next(ctx)), map[string]int{}
		settle, what := d.AckConfirmed, "is free"
		if try.Do(d.JSON(&order)); order["price"] > 0 {
			what = fmt.Sprint("costs ", order["price"])
		} else if isStrict {
			// Reject would give it up at once.
			settle, what = d.NackConfirmed, fmt.Sprintf("failed, attempt %d: it has no price", d.Attempt)
		}
		fmt.Println(d.ID, what)
		try.Do(settle(ctx))
	}
	orders.Close()
}

func main() {
	ctx := context.Background()
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	for at, order := range []map[string]int{{"price": 5}, {}, {"price": 7}} {
		try.To(mesh.Publish(ctx, "priced-orders", order, meshwire.ID(fmt.Sprint(at+1))))
	}
	bill(ctx, mesh, 4, true)
	letters := mesh.DeadLetters("priced-orders", "billing")
	for letter := range letters.List(ctx) {
		fmt.Printf("dead letter %d: order %s, %d failures\n", letter.Number, letter.Attribute("id"), letter.Failures)
	}
	fmt.Println("given back:", try.To(letters.RedriveAll(ctx)).Count)
	bill(ctx, mesh, 1, false)
	fmt.Println("left:", try.To(letters.RedriveAll(ctx)).Count)
}
