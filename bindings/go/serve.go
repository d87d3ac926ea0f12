package meshwire

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Request is a request in the hands of a handler.
type Request struct {
	Message
	// Deadline is until when its requester waits.
	Deadline time.Time
	// WantsStream: many replies are wanted.
	WantsStream bool
}

// RequestHandler answers a request: with data as Publish takes it, such as JSON, or an error, which the requester is told as
// RESPONDER_FAILED. The context ends when nobody waits any more.
type RequestHandler func(ctx context.Context, r *Request) (any, error)

// StreamHandler answers a request with many replies.
type StreamHandler func(ctx context.Context, r *Request, replies *ReplySender) error

// ReplySender sends replies to one request.
type ReplySender struct {
	core   *core
	handle native.Handle
}

// Send sends a reply, and waits until the requester has taken it. CANCELLED says that nobody waits any more. data and options are as with
// Publish.
func (s *ReplySender) Send(ctx context.Context, data any, options ...EventOption) error {
	if err := early(ctx, "reply"); err != nil {
		return err
	}
	packed, err := reply(data, options)
	if err != nil {
		return err
	}
	_, err = s.core.wait(ctx, native.SendReply(s.handle, packed))
	return err
}

func reply(data any, options []EventOption) ([]byte, error) {
	e := &Event{}
	e.take(data)
	for _, option := range options {
		if option != nil {
			option.event(e)
		}
	}
	return e.appendTo(nil)
}

// Serve answers a topic's requests with a function, on goroutines of its own, until the context ends: then it takes no more, waits for the
// handlers that run, and gives nil.
func (c *Client) Serve(ctx context.Context, topic string, handler RequestHandler, options ...ServeOption) error {
	if handler == nil {
		return invalid("serve", "the handler is nil", nil)
	}
	return c.serve(ctx, topic, options, func(ctx context.Context, request native.Handle, r *Request) error {
		data, err := handler(ctx, r)
		if err != nil {
			return err
		}
		packed, err := reply(data, nil)
		if err != nil {
			return err
		}
		if failure := native.AnswerRequest(request, packed); failure != nil {
			// The requester is told why there is no reply. Of a request that has ended this is not heard.
			return c.failed(failure)
		}
		return errAnswered
	})
}

// errAnswered says that a request has ended.
var errAnswered = errors.New("answered")

// ServeStream answers a topic's requests with many replies each, as Serve does with one.
func (c *Client) ServeStream(ctx context.Context, topic string, handler StreamHandler, options ...ServeOption) error {
	if handler == nil {
		return invalid("serve", "the handler is nil", nil)
	}
	return c.serve(ctx, topic, options, func(ctx context.Context, request native.Handle, r *Request) error {
		return handler(ctx, r, &ReplySender{c.core, request})
	})
}

func (c *Client) serve(
	ctx context.Context, topic string, options []ServeOption, answer func(context.Context, native.Handle, *Request) error,
) error {
	defer runtime.KeepAlive(c)
	if err := c.check(ctx, "serve"); err != nil {
		return err
	}
	var said said
	for _, option := range options {
		if option != nil {
			option.serve(&said)
		}
	}
	if said.err != nil {
		return said.err
	}
	made, failure := native.Serve(c.mesh, topic, said.text())
	if failure != nil {
		return c.failed(failure)
	}
	l := &loop{core: c.core, loop: made}
	return l.run(ctx, func(ctx context.Context, work native.Work) {
		r := &Request{}
		var come come
		err := unpack(native.Works, []native.Handle{work.Request}, topic, 0, func(read *messages) { come = r.take(read) })
		if err != nil {
			native.FailRequest(work.Request, err.Error())
			return
		}
		r.Deadline, r.WantsStream = time.Now().Add(come.remaining), come.stream
		l.handle(ctx, come.number, func(ctx context.Context) error { return answer(ctx, work.Request, r) }, func(err error) {
			// What is said of a request that was lost is not heard.
			switch {
			case err == nil:
				native.EndRequest(work.Request)
			case err != errAnswered:
				native.FailRequest(work.Request, err.Error())
			}
		})
	})
}
