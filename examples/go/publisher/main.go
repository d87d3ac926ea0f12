// Publishes five orders and prints their receipts.
//
//	go run ./publisher mesh://127.0.0.1:7400
package main

import (
	"context"
	"fmt"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

type order struct {
	Item     int    `json:"item"`
	Customer string `json:"customer"`
}

func main() {
	ctx := context.Background()
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	// Started one after the other, so that they share a write; awaited afterwards.
	var receipts []*meshwire.Pending
	for at, customer := range []string{"ada", "ben", "ada", "cy", "ben"} {
		pending := try.To(mesh.PublishAsync(ctx, "orders", order{at + 1, customer}, meshwire.Type("order.created"), meshwire.Key(customer)))
		receipts = append(receipts, pending)
	}
	for at, pending := range receipts {
		try.To(pending.Receipt(ctx))
		fmt.Printf("order %d is kept\n", at+1)
	}
}
