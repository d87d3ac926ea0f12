// Takes five orders for the group billing, acks each, and ends.
//
//	go run ./consumer mesh://127.0.0.1:7400
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
	// A new group starts at the earliest event of its topic.
	orders := try.To(mesh.Subscribe(ctx, "orders", meshwire.Group("billing")))
	billed := 0
	for d, err := range orders.All(ctx) {
		var order struct {
			Item     int
			Customer string
		}
		try.Do(err)
		try.Do(d.JSON(&order))
		fmt.Printf("bill %s for item %d\n", order.Customer, order.Item)
		// Waits for the gateway's word; Ack would not.
		try.Do(d.AckConfirmed(ctx))
		if billed++; billed == 5 {
			break
		}
	}
}
