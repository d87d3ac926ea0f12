package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	meshwire "github.com/meshwire/meshwire-go"
)

// lane is a subscription's loop, and what was not settled yet: deliveries, and verdicts that handlers wait for.
type lane struct {
	name    string
	stop    context.CancelFunc
	stopped chan struct{}
	sub     *meshwire.Subscription
	// left: its loop ends as one that is left.
	left  bool
	last  atomic.Int64
	held  sync.Map
	gates chan struct{}
}

func newLane(c command) (*lane, context.Context) {
	running, stop := context.WithCancel(ctx)
	l := &lane{name: c.text("as"), stop: stop, stopped: make(chan struct{}), gates: make(chan struct{})}
	lanes.Store(l.name, l)
	return l, running
}

func (l *lane) end(err error) { say(object{"ev": "end", "on": l.name, "err": problem(err)}) }

// tell tells of a delivery, which is held by then.
func (l *lane) tell(d *meshwire.Delivery, held any) {
	n := l.last.Add(1)
	l.held.Store(n, held)
	line := message(&d.Message)
	line["ev"], line["on"], line["n"] = "msg", l.name, n
	line["attempt"], line["position"], line["gap"] = d.Attempt, d.Position, d.Gap
	if !d.Expires().IsZero() {
		line["expires"] = true
	}
	say(line)
}

// open lets so many more through.
func (l *lane) open(more int) {
	for range more {
		l.gates <- struct{}{}
	}
}

// passes waits for the gate, once for each delivery; false: it is to stop.
func (l *lane) passes(ctx context.Context) bool {
	select {
	case <-l.gates:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func (l *lane) loop(ctx context.Context) {
	defer close(l.stopped)
	l.passes(ctx)
	for d, err := range l.sub.All(ctx) {
		if ctx.Err() == nil && err != nil {
			say(object{"ev": "error", "on": l.name, "err": problem(err)})
		} else if ctx.Err() == nil {
			l.tell(d, d)
		}
		if l.passes(ctx) {
			continue
		}
		if !l.left {
			// Before the loop is left: what it has in hand has not failed.
			l.sub.Close()
		}
		return
	}
	l.end(nil)
}

func (c command) subscribe() any {
	sub := try(c.mesh().Subscribe(ctx, c.text("topic"), subscribing[meshwire.SubscribeOption](c)...))
	l, running := newLane(c)
	l.sub = sub
	if gate := 0; c.has("gate", &gate) {
		go l.open(gate)
	} else {
		close(l.gates)
	}
	go l.loop(running)
	return object{}
}

func (c command) gate() any {
	l, more := get[*lane](&lanes, c.text("on")), field[int](c, "open")
	if !field[bool](c, "batch") {
		go l.open(more)
		return object{}
	}
	batch, err := l.sub.NextBatch(ctx, more)
	for _, d := range batch {
		l.tell(d, d)
	}
	return done(err)
}

func (c command) unsubscribe() any {
	l := take[*lane](&lanes, c.text("on"))
	l.left = field[bool](c, "left")
	l.stop()
	<-l.stopped
	return object{}
}

func (c command) consume() any {
	options := subscribing[meshwire.ConsumeOption](c)
	given(&options, c, "concurrency", meshwire.Concurrency)
	mesh := c.mesh()
	l, running := newLane(c)
	close(l.stopped)
	go func() {
		l.end(mesh.Consume(running, c.text("topic"), func(ctx context.Context, d *meshwire.Delivery) error {
			verdict := make(chan error, 1)
			l.tell(d, verdict)
			select {
			case err := <-verdict:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}, options...))
	}()
	return object{}
}

// settlements are the ways to settle a delivery that is in no handler.
var settlements = map[string]func(command, *meshwire.Delivery) error{
	"ack":                  func(_ command, d *meshwire.Delivery) error { return d.Ack() },
	"ack confirmed":        func(_ command, d *meshwire.Delivery) error { return d.AckConfirmed(ctx) },
	"nack":                 func(_ command, d *meshwire.Delivery) error { return d.Nack() },
	"nack confirmed":       func(_ command, d *meshwire.Delivery) error { return d.NackConfirmed(ctx) },
	"nack after":           func(c command, d *meshwire.Delivery) error { return d.NackAfter(c.span("delay_ms")) },
	"nack after confirmed": func(c command, d *meshwire.Delivery) error { return d.NackAfterConfirmed(ctx, c.span("delay_ms")) },
	"reject":               func(c command, d *meshwire.Delivery) error { return d.Reject(c.text("reason")) },
	"reject confirmed":     func(c command, d *meshwire.Delivery) error { return d.RejectConfirmed(ctx, c.text("reason")) },
	"extend":               func(_ command, d *meshwire.Delivery) error { return d.Extend() },
	"extend confirmed":     func(_ command, d *meshwire.Delivery) error { return d.ExtendConfirmed(ctx) },
	"forget":               func(_ command, d *meshwire.Delivery) error { return d.Forget() },
}

func (c command) settle() any {
	op, l := c.text("op"), get[*lane](&lanes, c.text("on"))
	find := take[any]
	if op == "extend" {
		find = get[any]
	}
	way, verdict := op, errors.New(c.text("reason"))
	if op == "ack" {
		verdict = nil
	}
	if c["delay_ms"] != nil {
		way += " after"
	}
	if field[bool](c, "confirmed") {
		way += " confirmed"
	}
	for _, n := range field[[]int64](c, "n") {
		switch held := find(&l.held, n).(type) {
		case chan error:
			held <- verdict
		case *meshwire.Delivery:
			check(settlements[way](c, held))
		}
	}
	return object{}
}

// serving is one who serves, and the requests that are not ended.
type serving struct {
	stop context.CancelFunc
	last atomic.Int64
	open sync.Map
}

// question is a request that waits for what the runner says to it.
type question struct {
	replies   chan meshwire.Event
	sent, end chan error
}

func (c command) serve() any {
	var options []meshwire.ServeOption
	if !given(&options, c, "concurrency", meshwire.Concurrency) {
		options = append(options, meshwire.Concurrency(16))
	}
	given(&options, c, "group", meshwire.Group)
	mesh, name := c.mesh(), c.text("as")
	running, stop := context.WithCancel(ctx)
	s := &serving{stop: stop}
	servings.Store(name, s)
	go func() {
		err := mesh.ServeStream(running, c.text("topic"), func(ctx context.Context, r *meshwire.Request, replies *meshwire.ReplySender) error {
			n, q := s.last.Add(1), question{make(chan meshwire.Event), make(chan error), make(chan error, 1)}
			s.open.Store(n, q)
			defer s.open.Delete(n)
			line := message(&r.Message)
			line["ev"], line["on"], line["n"], line["stream"] = "asked", name, n, r.WantsStream
			say(line)
			for {
				select {
				case event := <-q.replies:
					q.sent <- replies.Send(ctx, event)
				case err := <-q.end:
					return err
				case <-ctx.Done():
					say(object{"ev": "cancelled", "on": name, "n": n})
					return ctx.Err()
				}
			}
		}, options...)
		say(object{"ev": "end", "on": name, "err": problem(err)})
	}()
	return object{}
}

// questions are those that a command is about.
func (c command) questions() (all []question) {
	for _, n := range field[[]int64](c, "n") {
		all = append(all, get[question](&get[*serving](&servings, c.text("on")).open, n))
	}
	return all
}

func (c command) reply() any {
	for _, q := range c.questions() {
		q.replies <- field[command](c, "event").event()
		check(<-q.sent)
	}
	return object{}
}

func (c command) end() any {
	var end error
	if reason := ""; c.has("reason", &reason) {
		end = errors.New(reason)
	}
	for _, q := range c.questions() {
		q.end <- end
	}
	return object{}
}

func (c command) stopServing() any {
	get[*serving](&servings, c.text("on")).stop()
	return object{}
}
