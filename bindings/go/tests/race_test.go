package meshwire_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	meshwire "github.com/meshwire/meshwire-go"
)

// closing is a context that closes a client when it is looked at for the first time: when a call has found the client open.
type closing struct {
	context.Context
	mesh *meshwire.Client
	once *sync.Once
}

func (c closing) Err() error {
	c.once.Do(func() { c.mesh.Close() })
	return c.Context.Err()
}

func TestACallThatMeetsTheEndOfItsClientIsClosed(t *testing.T) {
	to := topic(t)
	calls := map[string]func(context.Context, *meshwire.Client) error{
		"publish": func(ctx context.Context, mesh *meshwire.Client) error {
			_, err := mesh.Publish(ctx, to, "x")
			return err
		},
		"publish, and do not wait": func(ctx context.Context, mesh *meshwire.Client) error {
			_, err := mesh.PublishAsync(ctx, to, "x")
			return err
		},
		"publish a batch": func(ctx context.Context, mesh *meshwire.Client) error {
			return mesh.PublishBatch(ctx, to, "x")[0].Err
		},
		"flush": func(ctx context.Context, mesh *meshwire.Client) error { return mesh.Flush(ctx) },
		"consume": func(ctx context.Context, mesh *meshwire.Client) error {
			return mesh.Consume(ctx, to, func(context.Context, *meshwire.Delivery) error { return nil })
		},
		"serve": func(ctx context.Context, mesh *meshwire.Client) error {
			return mesh.Serve(ctx, to, func(context.Context, *meshwire.Request) (any, error) { return nil, nil })
		},
		"subscribe": func(ctx context.Context, mesh *meshwire.Client) error {
			_, err := mesh.Subscribe(ctx, to)
			return err
		},
		"request": func(ctx context.Context, mesh *meshwire.Client) error {
			_, err := mesh.Request(ctx, to, "x")
			return err
		},
		"administer": func(ctx context.Context, mesh *meshwire.Client) error {
			_, err := mesh.Topics().Get(ctx, to)
			return err
		},
	}
	for name, call := range calls {
		mesh := connect(t)
		if err := call(closing{patience(t), mesh, new(sync.Once)}, mesh); !errors.Is(err, meshwire.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
