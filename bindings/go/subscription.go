package meshwire

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Subscription is a stream of deliveries, which the program settles.
type Subscription struct {
	*stream
	topic string
	// client is not forgotten as long as the program has this. A stream, which the client has, has none.
	client *Client
}

// stream is a subscription without its safety net.
type stream struct {
	core   *core
	handle native.Handle
	over   sync.Once
	closed chan struct{}

	// mu: one goroutine takes at a time.
	mu   sync.Mutex
	here []Delivery
	next int
	// failed came behind the last batch.
	failed error
	// size is how many bytes an event takes.
	size    int
	looked  time.Time
	taken   time.Time
	most    int
	handles []native.Handle
}

// mostAtOnce is more than are sent ahead by default, so that a batch is what is there.
const mostAtOnce = 256

// patience is how long what was taken of the library in one batch should take to be worked on: meanwhile nobody extends its leases. The
// slower a program is, the fewer it takes at once.
const patience = 20 * time.Millisecond

// Subscribe subscribes to a topic. With Group it takes its share of the group's events; without, it gets all that is published from now
// on. When Subscribe returns the gateway knows of it.
func (c *Client) Subscribe(ctx context.Context, topic string, options ...SubscribeOption) (*Subscription, error) {
	if err := c.check(ctx, "subscribe"); err != nil {
		return nil, err
	}
	var said said
	for _, option := range options {
		if option != nil {
			option.subscribe(&said)
		}
	}
	if said.err != nil {
		return nil, said.err
	}
	completion, err := c.wait(ctx, native.Subscribe(c.mesh, topic, said.text()))
	if err != nil {
		return nil, err
	}
	s := &stream{core: c.core, handle: completion.Value, closed: make(chan struct{}), most: 1}
	c.mu.Lock()
	c.streams[s] = struct{}{}
	c.mu.Unlock()
	sub := &Subscription{s, topic, c}
	// Only a net.
	runtime.AddCleanup(sub, func(s *stream) { s.end() }, s)
	return sub, nil
}

// Topic is what was subscribed to.
func (s *Subscription) Topic() string { return s.topic }

// Close ends the subscription. What the program was not handed comes again at once, and has not failed; what it was handed can still be
// settled. Again is nothing.
func (s *Subscription) Close() error {
	s.end()
	runtime.KeepAlive(s)
	return nil
}

func (s *stream) end() {
	s.over.Do(func() {
		s.core.settles.flush()
		// First: whoever finds the handle gone finds why.
		close(s.closed)
		native.Unsubscribe(s.handle)
		s.core.mu.Lock()
		delete(s.core.streams, s)
		s.core.mu.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop()
	})
}

// drop gives back what the program was not handed: it has not failed. The lock is held.
func (s *stream) drop() {
	var rest []native.Handle
	for at := min(s.next, len(s.here)); at < len(s.here); at++ {
		if handle := s.here[at].held().Swap(0); handle != 0 {
			rest = append(rest, handle)
		}
	}
	native.GiveBack(rest)
	s.here, s.next = nil, 0
}

// leave is for a client that drains: nothing more is handed out.
func (s *stream) leave() {
	// Whoever holds the lock waits for more, and is told the end.
	if s.mu.TryLock() {
		s.drop()
		s.mu.Unlock()
	}
}

// All are the deliveries as they come, until the subscription or the client is closed, or the context ends, which is the last error; after
// other errors more may come. The program settles them. Leaving the loop closes the subscription, so that what is unsettled comes again at once.
func (s *Subscription) All(ctx context.Context) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		defer s.Close()
		for {
			d, err := s.take(ctx)
			if d == nil && err == nil {
				return
			}
			if !yield(d, err) || ctx.Err() != nil && err != nil {
				return
			}
		}
	}
}

// take waits for the next delivery, and has the hook see it.
func (s *Subscription) take(ctx context.Context) (*Delivery, error) {
	d, err := s.stream.take(ctx)
	if d != nil {
		s.core.delivered(d)
	}
	return d, err
}

// Next waits for the next delivery. CLOSED says that the subscription is over.
func (s *Subscription) Next(ctx context.Context) (*Delivery, error) {
	defer runtime.KeepAlive(s)
	d, err := s.take(ctx)
	if d == nil && err == nil {
		err = &Error{Code: CodeClosed, Number: numberOf(ErrClosed), Retry: RetryNever, Operation: "receive",
			Message: "the subscription is over"}
	}
	return d, err
}

// NextBatch waits for deliveries, and gives those that are here, at least one and at most so many. CLOSED says that the subscription is
// over.
func (s *Subscription) NextBatch(ctx context.Context, most int) ([]*Delivery, error) {
	defer runtime.KeepAlive(s)
	if most < 1 {
		return nil, invalid("receive", "at least one delivery is to be asked for", nil)
	}
	first, err := s.Next(ctx)
	if err != nil {
		return nil, err
	}
	batch := s.fill(append(make([]*Delivery, 0, min(most, mostAtOnce)), first), most)
	for _, d := range batch[1:] {
		s.core.delivered(d)
	}
	return batch, nil
}

// fill adds those that are here.
func (s *stream) fill(batch []*Delivery, most int) []*Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(batch) < most {
		if s.next >= len(s.here) {
			// An error waits for who asks next.
			if s.failed = s.more(min(most-len(batch), mostAtOnce)); s.ended() {
				s.failed = nil
			}
			if s.failed != nil || s.next >= len(s.here) {
				break
			}
		}
		if time.Since(s.taken) > staleAfter {
			if d := s.hand(); d != nil {
				batch = append(batch, d)
			}
			continue
		}
		// So fresh are all of them.
		for ; s.next < len(s.here) && len(batch) < most; s.next++ {
			batch = append(batch, &s.here[s.next])
		}
	}
	return batch
}

// hand hands out the next one that is here; nil: none is. The lock is held.
func (s *stream) hand() *Delivery {
	for s.next < len(s.here) {
		d := &s.here[s.next]
		s.next++
		// After a reconnect what was taken before comes again: handling it now would be once too often.
		if time.Since(s.taken) > staleAfter && native.IsStale(d.held().Load()) {
			native.GiveBack([]native.Handle{d.held().Swap(0)})
			continue
		}
		return d
	}
	return nil
}

// staleAfter is below what a reconnect takes.
const staleAfter = 20 * time.Millisecond

// more takes what the library has, without waiting. The lock is held.
func (s *stream) more(most int) error {
	if len(s.handles) < most {
		s.handles = make([]native.Handle, max(most, 16))
	}
	n, open, failure := native.NextNow(s.handle, s.handles[:most])
	if failure != nil {
		select {
		case <-s.closed:
			return nil
		default:
			return s.core.failed(failure)
		}
	}
	if n == 0 || !open {
		return nil
	}
	return s.read(s.handles[:n])
}

// read has deliveries at hand. The lock is held.
func (s *stream) read(handles []native.Handle) error {
	here, size, err := s.core.deliveries(handles, uncleared(s.size*len(handles)))
	if err != nil {
		return err
	}
	s.here, s.next, s.taken = here, 0, time.Now()
	// A little more than these took, so that the next ones fit at once.
	s.size = size/len(handles)*9/8 + 16
	return nil
}

// pace says how many to take: as many as the program worked off lately in the time that they may wait here. The lock is held.
func (s *stream) pace() int {
	now := time.Now()
	if taken := len(s.here); taken > 0 {
		switch spent := now.Sub(s.looked); {
		case spent > patience:
			s.most = max(1, min(s.most, int(int64(taken)*int64(patience)/int64(spent))))
		case spent < patience/4:
			s.most = min(s.most*4, mostAtOnce)
		}
	}
	s.looked = now
	return s.most
}

// ended says that the subscription was closed, or its client.
func (s *stream) ended() bool {
	select {
	case <-s.closed:
		return true
	case <-s.core.done:
		return true
	default:
		return false
	}
}

// take waits for the next delivery; nil without an error: it is over.
func (s *stream) take(ctx context.Context) (*Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if d := s.hand(); d != nil {
			return d, nil
		}
		if err := s.failed; err != nil {
			s.failed = nil
			return nil, err
		}
		if err := early(ctx, "receive"); err != nil {
			return nil, err
		}
		if s.ended() {
			return nil, nil
		}
		most := s.pace()
		s.here, s.next = nil, 0
		if err := s.more(most); err != nil {
			// Its handle may have gone meanwhile.
			if s.ended() {
				err = nil
			}
			return nil, err
		}
		if len(s.here) > 0 {
			continue
		}
		// Whoever publishes more may wait for the acks of what is done.
		s.core.settles.flush()
		completion, err := s.core.wait(ctx, native.Next(s.handle, most))
		if err != nil {
			if s.ended() {
				err = nil
			}
			return nil, err
		}
		s.looked = time.Now()
		switch {
		case completion.Kind == native.Over:
			return nil, nil
		case completion.Count > 0:
			handles := make([]native.Handle, completion.Count)
			if err := s.read(handles[:native.TakeDeliveries(completion.Value, handles)]); err != nil {
				return nil, err
			}
		}
	}
}
