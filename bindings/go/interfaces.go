package meshwire

import (
	"context"
	"iter"
)

// Publisher is the part of Client that publishes, for fakes in tests of programs.
type Publisher interface {
	Publish(ctx context.Context, topic string, data any, options ...EventOption) (Receipt, error)
	PublishBatch(ctx context.Context, topic string, items ...any) []Result
}

// Requester is the part of Client that asks.
type Requester interface {
	Request(ctx context.Context, topic string, data any, options ...RequestOption) (*Reply, error)
	RequestStream(ctx context.Context, topic string, data any, options ...RequestOption) iter.Seq2[*Reply, error]
}

// Consumer is the part of Client that has handlers work. A Handler can be called with a Delivery of the test's own making, of which
// only the Message counts.
type Consumer interface {
	Consume(ctx context.Context, topic string, handler Handler, options ...ConsumeOption) error
}

// Responder is the part of Client that answers.
type Responder interface {
	Serve(ctx context.Context, topic string, handler RequestHandler, options ...ServeOption) error
	ServeStream(ctx context.Context, topic string, handler StreamHandler, options ...ServeOption) error
}

// Settler is the part of Delivery that settles.
type Settler interface {
	Ack() error
	Nack() error
	Reject(reason string) error
}

var (
	_ Publisher = (*Client)(nil)
	_ Requester = (*Client)(nil)
	_ Consumer  = (*Client)(nil)
	_ Responder = (*Client)(nil)
	_ Settler   = (*Delivery)(nil)
)
