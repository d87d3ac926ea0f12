package meshwire

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"runtime"
	"sync"
	"time"
	"weak"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Client is a client of one gateway: it stays connected by itself until it is closed. Any goroutine may use it. One that is forgotten is
// closed by and by: when the program has neither it nor a Subscription or Replies of it any more, and no call of it runs.
type Client struct {
	*core
	closing sync.Once
	closed  error
}

// Connect connects to a gateway and waits for it. url "" is $MESHWIRE_URL, else mesh://127.0.0.1:7400. When every address refuses it fails
// at once with UNAVAILABLE; see ConnectWait.
func Connect(ctx context.Context, url string, options ...ConnectOption) (*Client, error) {
	if err := early(ctx, "connect"); err != nil {
		return nil, err
	}
	said := &connectSaid{}
	for _, option := range options {
		if option != nil {
			option.connect(said)
		}
	}
	if said.err != nil {
		return nil, said.err
	}
	c := newCore()
	c.hooks = said.hooks
	if said.logger != nil {
		var err error
		if c.logger, err = log(said.logger); err != nil {
			c.close(0)
			return nil, err
		}
	}
	completion, err := c.wait(ctx, native.Connect(url, said.text()))
	if err != nil {
		c.close(0)
		return nil, err
	}
	c.mesh = completion.Value
	client := &Client{core: c}
	c.self = weak.Make(client)
	// Only a net: a client that was forgotten does not stay for ever.
	runtime.AddCleanup(client, func(c *core) {
		if c.ending.CompareAndSwap(false, true) {
			close(c.done)
			go c.close(linger)
		}
	}, c)
	return client, nil
}

// wait is that of core, and the client is not forgotten meanwhile: its arguments show numbers of the library alone.
func (c *Client) wait(ctx context.Context, begin native.Begin) (native.Completion, error) {
	defer runtime.KeepAlive(c)
	return c.core.wait(ctx, begin)
}

// linger is how long a client that was forgotten has for what it published, as in Rust.
const linger = 2 * time.Second

// Connected waits until the client is logged in at a gateway; at once when it is.
func (c *Client) Connected(ctx context.Context) error {
	if err := c.check(ctx, "connected"); err != nil {
		return err
	}
	_, err := c.wait(ctx, native.Connected(c.mesh))
	return err
}

// State says where a client stands.
type State string

// Where a client stands.
const (
	StateDisconnected State = "disconnected" // not connected, and not trying yet
	StateConnecting   State = "connecting"   // trying for the first time
	StateConnected    State = "connected"    // logged in
	StateReconnecting State = "reconnecting" // was connected, and is trying again
	StateDraining     State = "draining"     // the gateway is about to stop, or the client is draining
	StateClosed       State = "closed"       // ended for good
)

var states = [...]State{
	StateDisconnected, StateConnecting, StateConnected, StateReconnecting, StateDraining, StateClosed,
}

func state(number int) State {
	if number >= 0 && number < len(states) {
		return states[number]
	}
	return StateClosed
}

// State is where the client stands now.
func (c *Client) State() State {
	defer runtime.KeepAlive(c)
	if c.ending.Load() {
		return StateClosed
	}
	return state(native.StateNow(c.mesh))
}

// States are the client's states from now on, first the one that it is in, until it is closed or the context ends. What it was between
// two looks is not told.
func (c *Client) States(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		if c.ending.Load() {
			yield(StateClosed)
			return
		}
		now := native.StateNow(c.mesh)
		for yield(state(now)) && state(now) != StateClosed {
			completion, err := c.wait(ctx, native.StateAfter(c.mesh, now))
			if err != nil {
				if ctx.Err() == nil {
					yield(StateClosed)
				}
				return
			}
			now = completion.Code
		}
	}
}

// Stats are counts of a client.
type Stats struct {
	// Pending publishes have no receipt yet, PendingBytes of them.
	Pending      uint64 `json:"pending"`
	PendingBytes uint64 `json:"pending_bytes"`
	// Buffered are those of them that are not on their way: there is no gateway, or it takes no more now.
	Buffered      uint64 `json:"buffered"`
	BufferedBytes uint64 `json:"buffered_bytes"`
	// GivenUp publishes waited too long in the offline buffer.
	GivenUp uint64 `json:"given_up"`
	// Restored publishes were left in the offline file by an earlier client. The gateway has some of them, and others failed.
	Restored          uint64 `json:"restored"`
	RestoredPublished uint64 `json:"restored_published"`
	RestoredFailed    uint64 `json:"restored_failed"`
	// Published events were admitted.
	Published uint64 `json:"published"`
	// Carrier is what the session travels in, or did last: tcp, grpc, websocket or http.
	Carrier string `json:"carrier"`
	// Reconnects are logins after the first, Resumes those that went on with the same session.
	Reconnects uint64 `json:"reconnects"`
	Resumes    uint64 `json:"resumes"`
	// Replays are events sent again after a reconnect, ReplaysByID those that are told apart by their ids alone.
	Replays     uint64 `json:"replays"`
	ReplaysByID uint64 `json:"replays_by_id"`
	// ProtocolErrors and Silences are connections dropped since the gateway broke the protocol, or said nothing.
	ProtocolErrors uint64 `json:"protocol_errors"`
	Silences       uint64 `json:"silences"`
	// SettlesDropped came too late to be sent. LeasesLost were confirmed settles that came too late, and plain acks and rejects of what had
	// been given back because the program did nothing for an ack wait, or their subscription or the client had ended.
	SettlesDropped uint64 `json:"settles_dropped"`
	LeasesLost     uint64 `json:"leases_lost"`
	// Requests have not had their last reply. Of replies that nobody waited for RepliesDropped came over a connection that is gone,
	// and RepliesLate after their request had ended.
	Requests       uint64 `json:"requests"`
	RepliesDropped uint64 `json:"replies_dropped"`
	RepliesLate    uint64 `json:"replies_late"`
	// All has these, and what a newer library counts, by the names of the library.
	All map[string]any `json:"-"`
}

// Stats are what the client did so far.
func (c *Client) Stats() (Stats, error) {
	defer runtime.KeepAlive(c)
	if c.ending.Load() {
		return Stats{}, closed("stats")
	}
	c.send()
	text, failure := native.Stats(c.mesh)
	if failure != nil {
		return Stats{}, c.failed(failure)
	}
	var stats Stats
	err := errors.Join(json.Unmarshal([]byte(text), &stats), json.Unmarshal([]byte(text), &stats.All))
	return stats, err
}

// Flush waits until all that was published so far has its answer, and sends settlements that wait for company. Its error joins those of
// PublishAsync whose receipt nobody has asked for.
func (c *Client) Flush(ctx context.Context) error {
	if err := c.check(ctx, "flush"); err != nil {
		return err
	}
	c.send()
	c.settles.flush()
	_, err := c.wait(ctx, native.Flush(c.mesh))
	return errors.Join(err, c.unseen.take())
}

// Drain finishes what is in flight, at the latest when the context ends, and ends the client: publishes get their answers, handlers end,
// settles are sent. An error says that something was left. Without a deadline it has 30 s. INVALID in a handler, which would wait for itself:
// there end the context of Consume or Serve.
func (c *Client) Drain(ctx context.Context) error {
	deadline := time.Duration(-1)
	if until, ok := ctx.Deadline(); ok {
		deadline = max(time.Until(until), 0)
	}
	return c.end(ctx, "drain", deadline)
}

// Close drains the client with the default deadline, and ends it. Again is nothing, and gives the same. INVALID in a handler, as Drain.
func (c *Client) Close() error { return c.end(context.Background(), "close", -1) }

func (c *Client) end(ctx context.Context, operation string, deadline time.Duration) error {
	defer runtime.KeepAlive(c)
	if !c.ending.Load() {
		if err := c.mayWait(operation); err != nil {
			return err
		}
	}
	c.closing.Do(func() {
		// The deadline is the library's to keep: it says what was left. A context that is cancelled ends the wait.
		stop, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, func() {
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				cancel()
			}
		})()
		c.closed = c.drain(stop, deadline)
		if c.ending.CompareAndSwap(false, true) {
			close(c.done)
			c.close(0)
		}
	})
	return c.closed
}
