package meshwire

import (
	"context"
	"strings"
)

// Hooks see what a client publishes and is delivered, on the goroutine that makes the call: all that tracing needs. Each may be nil.
type Hooks struct {
	// OnPublish sees an event before it is published, and may add to it. An error refuses it.
	OnPublish func(ctx context.Context, topic string, event *Event) error
	// OnDelivery sees a delivery before the program does.
	OnDelivery func(d *Delivery)
	// OnSettle sees what became of a delivery: "ack", "nack" or "reject", or "dropped" where it was forgotten.
	OnSettle func(d *Delivery, how string)
}

func (h *Hooks) published(ctx context.Context, topic string, event *Event) error {
	if h.OnPublish == nil {
		return nil
	}
	if err := h.OnPublish(ctx, topic, event); err != nil {
		return invalid("publish", "the OnPublish hook refused the event", err)
	}
	return nil
}

func (h *Hooks) delivered(d *Delivery) {
	if h.OnDelivery != nil {
		h.OnDelivery(d)
	}
}

func (h *Hooks) settled(d *Delivery, operation string) {
	if h.OnSettle == nil {
		return
	}
	how, _, _ := strings.Cut(operation, "_")
	if how == "forget" {
		how = "dropped"
	}
	h.OnSettle(d, how)
}
