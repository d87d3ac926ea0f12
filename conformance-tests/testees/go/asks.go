package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"runtime"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

// watched is a client, and what ends the telling of its states.
type watched struct {
	*meshwire.Client
	stop context.CancelFunc
}

func (c command) hello() any {
	return object{"lang": "go", "api": "goroutines", "sdk": meshwire.LinkInfo().Version, "runtime": runtime.Version(), "caps": []string{
		"tcp", "iterator", "handler", "manual_ack", "confirmed", "admin", "dead_letters", "stats", "requests", "delays", "cancel"}}
}

func (c command) connect() any {
	var options []meshwire.ConnectOption
	if !given(&options, c, "client_name", meshwire.ClientName) {
		options = append(options, meshwire.ClientName("testee"))
	}
	spanned(&options, c, "timeout_ms", meshwire.ConnectTimeout)
	spanned(&options, c, "wait_ms", meshwire.ConnectWait)
	given(&options, c, "window_events", func(n int) meshwire.ConnectOption { return meshwire.PublishWindow(n, 64<<20) })
	spans(&options, c, "reconnect_ms", meshwire.Reconnect)
	given(&options, c, "tls_roots", meshwire.TLSRoots)
	mesh := try(meshwire.Connect(ctx, c.text("url"), options...))
	watch, stop := context.WithCancel(ctx)
	next, _ := iter.Pull(mesh.States(watch))
	tell := func() bool {
		state, ok := next()
		if ok {
			say(object{"ev": "state", "on": c.text("as"), "state": state})
		}
		return ok
	}
	tell()
	go func() {
		for tell() {
		}
	}()
	clients.Store(c.text("as"), watched{mesh, stop})
	return object{}
}

func (c command) state() any { return object{"state": c.mesh().State()} }
func (c command) stats() any { return try(c.mesh().Stats()).All }
func (c command) flush() any { return done(c.mesh().Flush(ctx)) }
func (c command) close() any { return done(c.mesh().Close()) }

func (c command) drain() any {
	until, cancel := context.WithTimeout(ctx, c.span("deadline_ms"))
	defer cancel()
	return done(c.mesh().Drain(until))
}

func (c command) abandon() any {
	take[watched](&clients, c.text("on")).stop()
	return object{}
}

func (c command) mark() any {
	marks.Store(c.text("as"), time.Now())
	return object{}
}

func receipt(r meshwire.Receipt) object {
	line := object{"position": nil, "duplicate": r.Duplicate}
	if r.Position != 0 {
		line["position"] = r.Position
	}
	return line
}

func (c command) publish() any {
	e := field[command](c, "event").event()
	e.DeliverAt, e.DeliverAfter, e.ExpiresIn = field[time.Time](c, "deliver_at"), c.span("deliver_after_ms"), c.span("expires_in_ms")
	return receipt(try(c.mesh().Publish(ctx, c.text("topic"), e)))
}

func (c command) publishBatch() any {
	items, shown := []any{}, []object{}
	for _, event := range field[[]command](c, "events") {
		items = append(items, event.event())
	}
	for _, result := range c.mesh().PublishBatch(ctx, c.text("topic"), items...) {
		if result.Err != nil {
			shown = append(shown, object{"err": problem(result.Err)})
		} else {
			shown = append(shown, receipt(result.Receipt))
		}
	}
	return object{"receipts": shown}
}

func (c command) asking() (options []meshwire.RequestOption) {
	spanned(&options, c, "timeout_ms", meshwire.RequestTimeout)
	flagged(&options, c, "retry", meshwire.RetryRequest)
	given(&options, c, "credit", meshwire.ReplyCredit)
	return options
}

func (c command) request() any {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	asked.Store(c.text("as"), cancel)
	reply, err := c.mesh().Request(asking, c.text("topic"), field[command](c, "event").event(), c.asking()...)
	if errors.Is(err, context.Canceled) {
		return object{"cancelled": true}
	}
	check(err)
	return message(&reply.Message)
}

func (c command) requestStream() any {
	asked.Store(c.text("as"), try(c.mesh().RequestMany(ctx, c.text("topic"), field[command](c, "event").event(), c.asking()...)))
	return object{}
}

func (c command) nextReply() any {
	reply := try(get[*meshwire.Replies](&asked, c.text("on")).Next(ctx))
	if reply == nil {
		return object{"end": true}
	}
	return message(&reply.Message)
}

func (c command) cancel() any {
	switch one := take[any](&asked, c.text("on")).(type) {
	case *meshwire.Replies:
		check(one.Close())
	case context.CancelFunc:
		one()
	}
	return object{}
}

// listed shows all of a list, under its name.
func listed[T any](name string, all iter.Seq2[T, error], show func(T) object) any {
	shown := []object{}
	for one, err := range all {
		check(err)
		shown = append(shown, show(one))
	}
	return object{name: shown}
}

// topic is the topic that a command is about, and what it says of it.
func (c command) topic() (of *meshwire.Topics, name string, said meshwire.TopicSettings) {
	all, _ := json.Marshal(c)
	check(json.Unmarshal(all, &said))
	return c.mesh().Topics(), c.text("topic"), said
}

func (c command) createTopic() any {
	of, name, said := c.topic()
	return object{"name": try(of.Create(ctx, name, said)).Name}
}

func (c command) updateTopic() any {
	of, name, said := c.topic()
	t := try(of.Update(ctx, name, said))
	return object{"name": t.Name, "retention_ms": t.Retention, "retention_bytes": t.RetentionBytes, "lagging": t.Lagging}
}

func (c command) deleteTopic() any {
	of, name, _ := c.topic()
	return object{"name": try(of.Delete(ctx, name, field[bool](c, "force"))).Name}
}

func (c command) topics() any {
	return listed("topics", c.mesh().Topics().List(ctx), func(t meshwire.Topic) object {
		one := object{"name": t.Name, "first": t.First.Number(), "next": t.Next.Number(), "delayed": t.Delayed, "overtaken": t.Overtaken}
		if t.Requests != nil {
			one["requests"] = t.Requests
		}
		return one
	})
}

// group is the group that a command is about, and what it says of it.
func (c command) group() (of *meshwire.Groups, name string, said meshwire.GroupSettings) {
	settings := field[command](c, "settings")
	if backoff := [2]*meshwire.Millis{}; settings.has("backoff_ms", &backoff) {
		said.BackoffMin, said.BackoffMax = backoff[0], backoff[1]
	}
	c.has("settings", &said)
	return c.mesh().Groups(c.text("topic")), c.text("group"), said
}

func (c command) createGroup() any {
	of, name, said := c.group()
	return showGroup(try(of.Create(ctx, name, c.place("start"), said)))
}

func (c command) updateGroup() any {
	of, name, said := c.group()
	return showGroup(try(of.Update(ctx, name, said)))
}

func (c command) seekGroup() any {
	of, name, _ := c.group()
	return showGroup(try(of.Seek(ctx, name, c.place("to"))))
}

func (c command) deleteGroup() any {
	of, name, _ := c.group()
	return showGroup(try(of.Delete(ctx, name)))
}

func (c command) groups() any {
	of, _, _ := c.group()
	return listed("groups", of.List(ctx), showGroup)
}

func showGroup(g meshwire.GroupInfo) object {
	members := []object{}
	for _, m := range g.DurableMembers {
		members = append(members, object{"name": m.Name, "connected": m.Connected, "settled_through": m.SettledThrough.Number(),
			"in_flight": m.InFlight, "lag": m.Lag, "delayed": m.Delayed, "dead_letters": m.DeadLetters})
	}
	s := g.GroupSettings
	return object{"name": g.Name, "settled_through": g.SettledThrough.Number(), "members": g.Members, "in_flight": g.InFlight, "lag": g.Lag,
		"delayed": g.Delayed, "failing": g.Failing, "expired": g.Expired, "dead_letters": g.DeadLetters, "durable_members": members,
		"settings": object{"ack_wait_ms": s.AckWait, "max_failures": s.MaxFailures, "backoff_ms": []any{s.BackoffMin, s.BackoffMax},
			"hold_after_dead_letter": s.HoldAfterDeadLetter, "strict_order": s.StrictOrder, "max_in_flight": s.MaxInFlight,
			"max_rate": s.MaxRate, "mode": g.Mode}}
}

// letters are the dead letters that a command is about, and their numbers; without any all of them.
func (c command) letters() (*meshwire.DeadLetters, []uint64) {
	return c.mesh().DeadLetters(c.text("topic"), c.text("group")), field[[]uint64](c, "numbers")
}

func (c command) deadLetters() any {
	letters, _ := c.letters()
	return listed("letters", letters.List(ctx), showLetter)
}

func (c command) deadLetter() any {
	letters, numbers := c.letters()
	return showLetter(try(letters.Get(ctx, numbers[0])))
}

func (c command) redrive() any {
	letters, numbers := c.letters()
	redrive := letters.Redrive
	if len(numbers) == 0 {
		redrive = func(ctx context.Context, _ ...uint64) (meshwire.Redriven, error) { return letters.RedriveAll(ctx) }
	}
	redriven := try(redrive(ctx, numbers...))
	shown := object{"count": redriven.Count}
	if len(redriven.Left) > 0 {
		shown["left"] = redriven.Left
	}
	return shown
}

func (c command) purge() any {
	letters, numbers := c.letters()
	if len(numbers) == 0 {
		return object{"count": try(letters.PurgeAll(ctx))}
	}
	return object{"count": try(letters.Purge(ctx, numbers...))}
}

func showLetter(l meshwire.DeadLetter) object {
	shown := object{"number": l.Number, "group": l.Group, "member": nil, "position": l.Position.Number(), "reason": l.Reason,
		"failures": l.Failures, "attempts": l.Attempts, "error": l.Error, "redriven": l.Redriven, "event": nil}
	if l.Member != "" {
		shown["member"] = l.Member
	}
	var event object
	if json.Unmarshal(l.Event, &event) != nil || event == nil {
		return shown
	}
	// As message tells of one that came.
	attributes := object{}
	line := object{"attributes": attributes}
	for name := range event {
		switch name {
		case "id", "source", "type", "data":
			line[name] = l.Attribute(name)
		case "data_base64":
			line["data_b64"] = l.Attribute(name)
		case "specversion":
		default:
			attributes[name] = l.Attribute(name)
		}
	}
	shown["event"] = line
	return shown
}
