package meshwire

import (
	"context"
	"iter"

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
	read, err := pack(native.Reply, handles, nil)
	for _, handle := range handles {
		native.FreeReply(handle)
	}
	if err != nil {
		return nil, err
	}
	all := make([]*Reply, len(handles))
	for at := range all {
		all[at] = &Reply{}
		all[at].take(&read)
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

// RequestStream asks for many replies, which come as they are sent; an error is the last. Leaving the loop cancels the rest: the handler
// is told.
func (c *Client) RequestStream(ctx context.Context, topic string, data any, options ...RequestOption) iter.Seq2[*Reply, error] {
	return func(yield func(*Reply, error) bool) {
		if err := c.check(ctx, "request_stream"); err != nil {
			yield(nil, err)
			return
		}
		packed, said, err := c.asked(data, options)
		if err != nil {
			yield(nil, err)
			return
		}
		completion, err := c.wait(ctx, native.RequestStream(c.mesh, topic, packed, said))
		if err != nil {
			yield(nil, err)
			return
		}
		stream := completion.Value
		defer native.CloseReplies(stream)
		for {
			completion, err := c.wait(ctx, native.RepliesNext(stream, mostAtOnce))
			if err != nil {
				yield(nil, err)
				return
			}
			if completion.Kind == native.Over {
				return
			}
			all, err := replies(native.TakeReplies(completion.Value, completion.Count))
			if err != nil {
				yield(nil, err)
				return
			}
			for _, reply := range all {
				if !yield(reply, nil) {
					return
				}
			}
		}
	}
}
