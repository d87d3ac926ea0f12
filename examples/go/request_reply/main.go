// Asks for prices of a responder that this program runs as well, and for what nobody serves.
//
//	go run ./request_reply mesh://127.0.0.1:7400
package main

import (
	"context"
	"errors"
	"fmt"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

// quote answers with twice the number of the sku; there is no sku 0.
func quote(_ context.Context, r *meshwire.Request) (any, error) {
	var sku int
	if err := r.JSON(&sku); err != nil || sku == 0 {
		return nil, fmt.Errorf("there is no sku %d", sku)
	}
	return meshwire.Event{Type: "quote.given", Data: meshwire.JSON(2 * sku)}, nil
}

func ask(ctx context.Context, mesh *meshwire.Client, topic string, sku int) error {
	reply, err := mesh.Request(ctx, topic, sku, meshwire.Type("quote.asked"))
	var e *meshwire.Error
	switch errors.As(err, &e); {
	case err == nil:
		fmt.Printf("sku %d costs %s\n", sku, reply.Text())
	case errors.Is(err, meshwire.ErrResponderFailed):
		fmt.Println("refused:", e.Message)
	case topic != "quote":
		fmt.Println("nobody serves", topic)
	}
	return err
}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	defer stop()
	go mesh.Serve(ctx, "quote", quote, meshwire.Concurrency(4))
	// Until the responder is there.
	for errors.Is(ask(ctx, mesh, "quote", 1), meshwire.ErrNoResponders) {
	}
	ask(ctx, mesh, "quote", 21)
	ask(ctx, mesh, "quote", 0)
	ask(ctx, mesh, "discount", 1)
}
