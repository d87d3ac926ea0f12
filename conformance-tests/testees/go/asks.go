package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	meshwire "github.com/meshwire/meshwire-go"
)

func receipt(r meshwire.Receipt) object {
	var position any
	if r.Position != 0 {
		position = r.Position
	}
	return object{"position": position, "duplicate": r.Duplicate}
}

func (c command) timed() meshwire.Event {
	e := c.Event.event()
	if c.DeliverAt != nil {
		e.DeliverAt = *c.DeliverAt
	}
	if c.DeliverAfter != nil {
		e.DeliverAfter = ms(*c.DeliverAfter)
	}
	if c.ExpiresIn != nil {
		e.ExpiresIn = ms(*c.ExpiresIn)
	}
	return e
}

// ask is each command of a client as one call.
func ask(mesh *meshwire.Client, c command) (any, error) {
	group := ""
	if c.Group != nil {
		group = *c.Group
	}
	switch c.Op {
	case "publish":
		kept, err := mesh.Publish(ctx, c.Topic, c.timed())
		return receipt(kept), err
	case "publish_batch":
		items := make([]any, len(c.Events))
		for at, event := range c.Events {
			items[at] = event.event()
		}
		shown := []object{}
		for _, result := range mesh.PublishBatch(ctx, c.Topic, items...) {
			if result.Err != nil {
				shown = append(shown, object{"err": problem(result.Err)})
			} else {
				shown = append(shown, receipt(result.Receipt))
			}
		}
		return object{"receipts": shown}, nil
	case "flush":
		return object{}, mesh.Flush(ctx)
	case "subscribe":
		return subscribe(mesh, c)
	case "consume":
		return consume(mesh, c)
	case "serve":
		return serve(mesh, c)
	case "request":
		return request(mesh, c)
	case "request_stream":
		return stream(mesh, c)
	case "stats":
		stats, err := mesh.Stats()
		return stats.All, err
	case "state":
		return object{"state": mesh.State()}, nil
	case "drain":
		until, cancel := context.WithTimeout(ctx, ms(c.DeadlineMs))
		defer cancel()
		return object{}, mesh.Drain(until)
	case "close":
		return object{}, mesh.Close()
	case "create_topic", "update_topic", "delete_topic", "topics":
		return topics(mesh, c)
	case "groups", "update_group", "create_group", "seek_group", "delete_group":
		return groups(mesh, c, group)
	case "dead_letters", "dead_letter", "redrive", "purge":
		letters := mesh.DeadLetters(c.Topic)
		if group != "" {
			letters = mesh.DeadLetters(c.Topic, group)
		}
		return deadLetters(letters, c)
	}
	return nil, absent("command " + c.Op)
}

func (c command) request() []meshwire.RequestOption {
	var options []meshwire.RequestOption
	given(&options, c.TimeoutMs, func(n int64) meshwire.RequestOption { return meshwire.RequestTimeout(ms(n)) })
	if c.Retry {
		options = append(options, meshwire.RetryRequest())
	}
	given(&options, c.Credit, meshwire.ReplyCredit)
	return options
}

func request(mesh *meshwire.Client, c command) (any, error) {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.As != "" {
		asked.put(c.As, cancel)
	}
	reply, err := mesh.Request(asking, c.Topic, c.Event.event(), c.request()...)
	if errors.Is(err, context.Canceled) {
		return object{"cancelled": true}, nil
	}
	if err != nil {
		return nil, err
	}
	return message(&reply.Message), nil
}

func stream(mesh *meshwire.Client, c command) (any, error) {
	replies, err := mesh.RequestMany(ctx, c.Topic, c.Event.event(), c.request()...)
	if err != nil {
		return nil, err
	}
	streams.put(c.As, replies)
	return object{}, nil
}

func topics(mesh *meshwire.Client, c command) (any, error) {
	said := meshwire.TopicSettings{Durability: c.Durability, Retention: c.RetentionMs, RetentionBytes: c.Retention, Lagging: c.Lagging}
	switch c.Op {
	case "create_topic":
		topic, err := mesh.Topics().Create(ctx, c.Topic, said)
		return object{"name": topic.Name}, err
	case "update_topic":
		topic, err := mesh.Topics().Update(ctx, c.Topic, said)
		return object{"name": topic.Name, "retention_ms": topic.Retention, "retention_bytes": topic.RetentionBytes, "lagging": topic.Lagging}, err
	case "delete_topic":
		topic, err := mesh.Topics().Delete(ctx, c.Topic, c.Force)
		return object{"name": topic.Name}, err
	}
	return listed("topics", mesh.Topics().List(ctx), func(t meshwire.Topic) object {
		one := object{"name": t.Name, "first": t.First.Number(), "next": t.Next.Number(), "delayed": t.Delayed, "overtaken": t.Overtaken}
		if r := t.Requests; r != nil {
			one["requests"] = object{"members": r.Members, "open": r.Open, "late_replies": r.LateReplies}
		}
		return one
	})
}

// listed shows all of a list, under its name.
func listed[T any](name string, all iter.Seq2[T, error], show func(T) object) (any, error) {
	shown := []object{}
	for one, err := range all {
		if err != nil {
			return nil, err
		}
		shown = append(shown, show(one))
	}
	return object{name: shown}, nil
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

func groups(mesh *meshwire.Client, c command, name string) (any, error) {
	of := mesh.Groups(c.Topic)
	var info meshwire.GroupInfo
	var err error
	switch c.Op {
	case "update_group":
		info, err = of.Update(ctx, name, c.Settings.group())
	case "create_group":
		var start meshwire.Position
		if len(c.Start) > 0 {
			if start, err = place(c.Start); err != nil {
				return nil, err
			}
		}
		info, err = of.Create(ctx, name, start, c.Settings.group())
	case "seek_group":
		var to meshwire.Position
		if to, err = place(c.To); err != nil {
			return nil, err
		}
		info, err = of.Seek(ctx, name, to)
	case "delete_group":
		info, err = of.Delete(ctx, name)
	default:
		return listed("groups", of.List(ctx), showGroup)
	}
	return showGroup(info), err
}

func deadLetters(letters *meshwire.DeadLetters, c command) (any, error) {
	redrive, purge := letters.Redrive, letters.Purge
	if len(c.Numbers) == 0 {
		redrive = func(ctx context.Context, _ ...uint64) (meshwire.Redriven, error) { return letters.RedriveAll(ctx) }
		purge = func(ctx context.Context, _ ...uint64) (uint64, error) { return letters.PurgeAll(ctx) }
	}
	switch c.Op {
	case "redrive":
		done, err := redrive(ctx, c.Numbers...)
		shown := object{"count": done.Count}
		if len(done.Left) > 0 {
			shown["left"] = done.Left
		}
		return shown, err
	case "purge":
		count, err := purge(ctx, c.Numbers...)
		return object{"count": count}, err
	case "dead_letter":
		number := uint64(0)
		if len(c.Numbers) > 0 {
			number = c.Numbers[0]
		}
		letter, err := letters.Get(ctx, number)
		return showLetter(letter), err
	}
	return listed("letters", letters.List(ctx), showLetter)
}

func showLetter(l meshwire.DeadLetter) object {
	shown := object{"number": l.Number, "group": l.Group, "member": nil, "position": l.Position.Number(), "reason": l.Reason,
		"failures": l.Failures, "attempts": l.Attempts, "error": l.Error, "redriven": l.Redriven, "event": nil}
	if l.Member != "" {
		shown["member"] = l.Member
	}
	var event object
	if json.Unmarshal(l.Event, &event) == nil && event != nil {
		shown["event"] = jsonEvent(event)
	}
	return shown
}

// jsonEvent tells of an event in the JSON format of CloudEvents as message does of one that came.
func jsonEvent(event object) object {
	attributes, line := object{}, object{}
	for name, value := range event {
		switch name {
		case "id", "source", "type":
			line[name] = value
		case "specversion", "data", "data_base64":
		default:
			attributes[name] = fmt.Sprint(value)
		}
	}
	line["attributes"] = attributes
	data, isThere := event["data"]
	text, isText := data.(string)
	kind, _ := event["datacontenttype"].(string)
	if isThere && (!isText || strings.Contains(kind, "json")) {
		written, _ := json.Marshal(data)
		text = string(written)
	}
	switch {
	case len(text) > 1024:
		line["data_bytes"] = len(text)
	case isThere:
		line["data"] = text
	case event["data_base64"] != nil:
		line["data_b64"] = event["data_base64"]
	}
	return line
}
