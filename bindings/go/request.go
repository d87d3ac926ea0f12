package meshwire

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Reply is a reply to a request.
type Reply struct{ Message }

func (c *core) asked(data any, options []RequestOption) ([]byte, string, error) {
	said := &requestSaid{}
	said.event.take(data)
	for _, option := range options {
		if option != nil {
			option.request(said)
		}
	}
	if said.err != nil {
		return nil, "", said.err
	}
	packed, err := said.event.appendTo(nil)
	return packed, said.text(), err
}

func replies(handles []native.Handle) ([]*Reply, error) {
	all := make([]*Reply, len(handles))
	err := unpack(native.Reply, handles, "", 0, func(read *messages) {
		for at := range all {
			all[at] = &Reply{}
			all[at].take(read)
		}
	})
	for _, handle := range handles {
		native.FreeReply(handle)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Request asks one of those who serve a topic, and waits for the reply: 5 s unless RequestTimeout says something else.
// errors.Is(err, ErrNoResponders): nobody serves it. data is as with Publish.
func (c *Client) Request(ctx context.Context, topic string, data any, options ...RequestOption) (*Reply, error) {
	if err := c.check(ctx, "request"); err != nil {
		return nil, err
	}
	packed, said, err := c.asked(data, options)
	if err != nil {
		return nil, err
	}
	completion, err := c.wait(ctx, native.Request(c.mesh, topic, packed, said))
	if err != nil {
		return nil, err
	}
	all, err := replies([]native.Handle{completion.Value})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// Replies are replies to a request for many, as they come. One goroutine takes them at a time.
type Replies struct {
	core *core
	// client is not forgotten as long as the program has this.
	client *Client
	handle native.Handle
	over   sync.Once
	closed atomic.Bool
}

// RequestMany asks for many replies, which are sent as they are read: RequestStream in two steps.
func (c *Client) RequestMany(ctx context.Context, topic string, data any, options ...RequestOption) (*Replies, error) {
	if err := c.check(ctx, "request_stream"); err != nil {
		return nil, err
	}
	packed, said, err := c.asked(data, options)
	if err != nil {
		return nil, err
	}
	completion, err := c.wait(ctx, native.RequestStream(c.mesh, topic, packed, said))
	if err != nil {
		return nil, err
	}
	stream := &Replies{core: c.core, client: c, handle: completion.Value}
	// Only a net.
	runtime.AddCleanup(stream, func(handle native.Handle) { native.CloseReplies(handle) }, stream.handle)
	return stream, nil
}

// Next waits for the next reply; nil without an error: there are no more.
func (r *Replies) Next(ctx context.Context) (*Reply, error) {
	defer runtime.KeepAlive(r)
	if r.closed.Load() {
		return nil, nil
	}
	if err := r.core.check(ctx, "request_stream"); err != nil {
		return nil, err
	}
	// One at a time: what is taken here is read, and lets its responder send more.
	completion, err := r.core.wait(ctx, native.RepliesNext(r.handle, 1))
	if err != nil || completion.Count == 0 {
		return nil, err
	}
	all, err := replies(native.TakeReplies(completion.Value, completion.Count))
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// Close wants no more replies: the handler is told. Again is nothing.
func (r *Replies) Close() error {
	r.over.Do(func() {
		r.closed.Store(true)
		native.CloseReplies(r.handle)
	})
	runtime.KeepAlive(r)
	return nil
}

// RequestStream asks for many replies, which come as they are sent; an error is the last. Leaving the loop cancels the rest: the handler
// is told.
func (c *Client) RequestStream(ctx context.Context, topic string, data any, options ...RequestOption) iter.Seq2[*Reply, error] {
	return func(yield func(*Reply, error) bool) {
		stream, err := c.RequestMany(ctx, topic, data, options...)
		if err != nil {
			yield(nil, err)
			return
		}
		defer stream.Close()
		for {
			reply, err := stream.Next(ctx)
			if reply == nil && err == nil || !yield(reply, err) || err != nil {
				return
			}
		}
	}
}
