package main

import (
	"context"
	"errors"
	"sync"

	meshwire "github.com/meshwire/meshwire-go"
)

// lane is a subscription's loop, and what was not settled yet.
type lane struct {
	name    string
	stop    context.CancelFunc
	stopped chan struct{}
	sub     *meshwire.Subscription
	// left: its loop ends as one that is left.
	left    bool
	mu      sync.Mutex
	last    int
	held    map[int]*meshwire.Delivery
	waiting map[int]chan error
	gates   chan struct{}
}

func newLane(name string, gate *int, stop context.CancelFunc) *lane {
	l := &lane{name: name, stop: stop, stopped: make(chan struct{}), held: map[int]*meshwire.Delivery{}, waiting: map[int]chan error{}, gates: make(chan struct{}, 1<<20)}
	if gate == nil {
		close(l.gates)
	} else {
		l.gate(*gate)
	}
	lanes.put(name, l)
	return l
}

func (l *lane) gate(more int) {
	for range more {
		l.gates <- struct{}{}
	}
}

// batch takes several at once.
func (l *lane) batch(most int) error {
	batch, err := l.sub.NextBatch(ctx, most)
	for _, d := range batch {
		l.tell(d, func(n int) { l.held[n] = d })
	}
	return err
}

func (l *lane) end(err error) {
	var told any
	if err != nil {
		told = problem(err)
	}
	say(object{"ev": "end", "on": l.name, "err": told})
}

// tell tells of a delivery, which is kept under its number by then.
func (l *lane) tell(d *meshwire.Delivery, keep func(n int)) {
	l.mu.Lock()
	l.last++
	line := message(&d.Message)
	line["ev"], line["on"], line["n"] = "msg", l.name, l.last
	line["attempt"], line["position"], line["gap"] = d.Attempt, d.Position, d.Gap
	if !d.Expires().IsZero() {
		line["expires"] = true
	}
	keep(l.last)
	l.mu.Unlock()
	say(line)
}

// passes waits for the gate, once for each delivery; false: it is to stop.
func (l *lane) passes(ctx context.Context) bool {
	select {
	case <-l.gates:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func (l *lane) stream(ctx context.Context, sub *meshwire.Subscription) {
	defer close(l.stopped)
	l.passes(ctx)
	for d, err := range sub.All(ctx) {
		if ctx.Err() == nil && err != nil {
			say(object{"ev": "error", "on": l.name, "err": problem(err)})
		} else if ctx.Err() == nil {
			l.tell(d, func(n int) { l.held[n] = d })
		}
		if l.passes(ctx) {
			continue
		}
		if !l.left {
			// Before the loop is left: what it has in hand has not failed.
			sub.Close()
		}
		return
	}
	l.end(nil)
}

func subscribe(mesh *meshwire.Client, c command) (any, error) {
	options, err := c.subscription()
	if err != nil {
		return nil, err
	}
	sub, err := mesh.Subscribe(ctx, c.Topic, options...)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	l := newLane(c.As, c.Gate, stop)
	l.sub = sub
	go l.stream(running, sub)
	return object{}, nil
}

func consume(mesh *meshwire.Client, c command) (any, error) {
	options, err := c.subscription()
	if err != nil {
		return nil, err
	}
	all := []meshwire.ConsumeOption{}
	for _, option := range options {
		all = append(all, option)
	}
	given(&all, c.Concurrency, func(n int) meshwire.ConsumeOption { return meshwire.Concurrency(n) })
	running, stop := context.WithCancel(ctx)
	l := newLane(c.As, nil, stop)
	close(l.stopped)
	go func() {
		l.end(mesh.Consume(running, c.Topic, func(ctx context.Context, d *meshwire.Delivery) error {
			verdict := make(chan error, 1)
			l.tell(d, func(n int) { l.waiting[n] = verdict })
			select {
			case err := <-verdict:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}, all...))
	}()
	return object{}, nil
}

func settle(c command) error {
	l, err := lanes.get(c.On, false)
	if err != nil {
		return err
	}
	for _, n := range c.N {
		l.mu.Lock()
		d, verdict := l.held[n], l.waiting[n]
		delete(l.held, n)
		delete(l.waiting, n)
		l.mu.Unlock()
		switch {
		case verdict != nil && c.Op == "ack":
			verdict <- nil
		case verdict != nil && c.Op == "nack":
			verdict <- errors.New(c.reason())
		case d == nil:
			return absent("delivery")
		default:
			err = one(l, n, d, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func one(l *lane, n int, d *meshwire.Delivery, c command) error {
	switch {
	case c.Op == "ack" && c.Confirmed:
		return d.AckConfirmed(ctx)
	case c.Op == "ack":
		return d.Ack()
	case c.Op == "nack" && c.DelayMs != nil:
		return d.NackAfter(ms(*c.DelayMs))
	case c.Op == "nack" && c.Confirmed:
		return d.NackConfirmed(ctx)
	case c.Op == "nack":
		return d.Nack()
	case c.Op == "reject" && c.Confirmed:
		return d.RejectConfirmed(ctx, c.reason())
	case c.Op == "reject":
		return d.Reject(c.reason())
	case c.Op == "extend":
		l.mu.Lock()
		l.held[n] = d
		l.mu.Unlock()
		if c.Confirmed {
			return d.ExtendConfirmed(ctx)
		}
		return d.Extend()
	}
	return d.Forget()
}

// serving is one who serves, and the requests that are not ended.
type serving struct {
	name string
	stop context.CancelFunc
	mu   sync.Mutex
	last int
	open map[int]chan order
}

// order is what the runner says to a request: a reply, or its end.
type order struct {
	event *meshwire.Event
	end   error
	done  chan error
}

var errEnd = errors.New("all was said")

func serve(mesh *meshwire.Client, c command) (any, error) {
	concurrency := 16
	if c.Concurrency != nil {
		concurrency = *c.Concurrency
	}
	options := []meshwire.ServeOption{meshwire.Concurrency(concurrency)}
	given(&options, c.Group, func(name string) meshwire.ServeOption { return meshwire.Group(name) })
	running, stop := context.WithCancel(ctx)
	s := &serving{name: c.As, stop: stop, open: map[int]chan order{}}
	servings.put(c.As, s)
	go func() {
		var told any
		if err := mesh.ServeStream(running, c.Topic, s.handle, options...); err != nil {
			told = problem(err)
		}
		say(object{"ev": "end", "on": s.name, "err": told})
	}()
	return object{}, nil
}

func (s *serving) handle(ctx context.Context, r *meshwire.Request, replies *meshwire.ReplySender) error {
	orders := make(chan order, 64)
	s.mu.Lock()
	s.last++
	n := s.last
	s.open[n] = orders
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.open, n)
		s.mu.Unlock()
	}()
	line := message(&r.Message)
	line["ev"], line["on"], line["n"], line["stream"] = "asked", s.name, n, r.WantsStream
	say(line)
	for {
		select {
		case o := <-orders:
			if o.event == nil {
				if o.end == errEnd {
					return nil
				}
				return o.end
			}
			o.done <- replies.Send(ctx, *o.event)
		case <-ctx.Done():
			say(object{"ev": "cancelled", "on": s.name, "n": n})
			return ctx.Err()
		}
	}
}

func answerRequest(c command) error {
	s, err := servings.get(c.On, false)
	if err != nil {
		return err
	}
	for _, n := range c.N {
		s.mu.Lock()
		orders := s.open[n]
		s.mu.Unlock()
		if orders == nil {
			return absent("request")
		}
		if c.Op == "end" {
			end := errEnd
			if c.Reason != nil {
				end = errors.New(*c.Reason)
			}
			orders <- order{end: end}
			continue
		}
		event := c.Event.event()
		done := make(chan error, 1)
		orders <- order{event: &event, done: done}
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}
