package meshwire

import (
	"context"
	"strings"
)

// Hooks see what a client publishes and is delivered, on the goroutine that makes the call: all that tracing needs. Each may be nil.
// One that panics is logged; OnPublish refuses its event then.
type Hooks struct {
	// OnPublish sees an event before it is published, and may add to it. An error refuses it.
	OnPublish func(ctx context.Context, topic string, event *Event) error
	// OnDelivery sees a delivery before the program does.
	OnDelivery func(d *Delivery)
	// OnSettle sees what became of a delivery: "ack", "nack" or "reject", or "dropped" where it was forgotten.
	OnSettle func(d *Delivery, how string)
}

// published has the hook see an event before it is published.
func (c *core) published(ctx context.Context, topic string, event *Event) error {
	if c.hooks.OnPublish == nil {
		return nil
	}
	if err := safely(c, "hook", func() error { return c.hooks.OnPublish(ctx, topic, event) }); err != nil {
		return invalid("publish", "the OnPublish hook refused the event", err)
	}
	return nil
}

// delivered has the hook see a delivery. No lock is held: it may do anything with the delivery's subscription.
func (c *core) delivered(d *Delivery) {
	if c.hooks.OnDelivery != nil {
		_ = safely(c, "hook", func() error {
			c.hooks.OnDelivery(d)
			return nil
		})
	}
}

// settled has the hook see what became of a delivery.
func (c *core) settled(d *Delivery, operation string) {
	if c.hooks.OnSettle == nil {
		return
	}
	how, _, _ := strings.Cut(operation, "_")
	if how == "forget" {
		how = "dropped"
	}
	_ = safely(c, "hook", func() error {
		c.hooks.OnSettle(d, how)
		return nil
	})
}
