// Two subscribers without a group get every event that is published while they are there.
//
//	go run ./publish_subscribe mesh://127.0.0.1:7400
package main

import (
	"context"
	"fmt"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

func main() {
	ctx := context.Background()
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	try.To(mesh.Publish(ctx, "prices", "tea 1.80", meshwire.Type("price.changed")))
	// Without a start, from here on.
	board := try.To(mesh.Subscribe(ctx, "prices"))
	till := try.To(mesh.Subscribe(ctx, "prices"))
	for _, price := range []string{"tea 1.90", "coffee 2.40", "cocoa 3.10"} {
		try.To(mesh.Publish(ctx, "prices", price, meshwire.Type("price.changed")))
	}
	for _, sub := range []struct {
		name string
		*meshwire.Subscription
	}{{"board", board}, {"till", till}} {
		for range 3 {
			d := try.To(sub.Next(ctx))
			fmt.Printf("%s: %s\n", sub.name, d.Text())
			// Gives the place in the subscription's credit back. Without a group nothing else depends on it.
			d.Ack()
		}
		sub.Close()
	}
}
