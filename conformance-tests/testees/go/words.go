package main

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

// command is what the runner asks for; what is absent is left to the client.
type command map[string]json.RawMessage

// has puts a field of a command into a value; false: it is absent.
func (c command) has(name string, into any) bool {
	text := c[name]
	if len(text) == 0 || string(text) == "null" {
		return false
	}
	check(json.Unmarshal(text, into))
	return true
}

// field is a field of a command; the zero value: it is absent.
func field[T any](c command, name string) (value T) {
	c.has(name, &value)
	return value
}

func (c command) text(name string) string { return field[string](c, name) }

func (c command) span(name string) time.Duration { return ms(field[int64](c, name)) }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (c command) mesh() *meshwire.Client { return get[watched](&clients, c.text("on")).Client }

// given adds an option where the command has a value for it, and says whether it has. O is a kind of options, and P may be more than that.
func given[O, P, V any](all *[]O, c command, name string, option func(V) P) bool {
	var value V
	isThere := c.has(name, &value)
	if isThere {
		*all = append(*all, any(option(value)).(O))
	}
	return isThere
}

// flagged is given for what is so or not.
func flagged[O, P any](all *[]O, c command, name string, option func() P) {
	given(all, c, name, func(is bool) any {
		if is {
			return option()
		}
		return meshwire.Option(name, "false")
	})
}

// spanned is given for a time.
func spanned[O, P any](all *[]O, c command, name string, option func(time.Duration) P) {
	given(all, c, name, func(n int64) P { return option(ms(n)) })
}

// spans is given for a first time and the longest.
func spans[O, P any](all *[]O, c command, name string, option func(first, longest time.Duration) P) {
	given(all, c, name, func(of [2]int64) P { return option(ms(of[0]), ms(of[1])) })
}

// subscribing are the options of a subscription or consumer.
func subscribing[O any](c command) (all []O) {
	given(&all, c, "group", meshwire.Group)
	flagged(&all, c, "broadcast", meshwire.Broadcast)
	given(&all, c, "member", meshwire.Member)
	given(&all, c, "start", func(json.RawMessage) any { return meshwire.Option("start", string(c.place("start"))) })
	given(&all, c, "prefetch", func(of [2]int64) any { return meshwire.Prefetch(int(of[0]), of[1]) })
	s := field[command](c, "settings")
	spanned(&all, s, "ack_wait_ms", meshwire.AckWait)
	given(&all, s, "max_failures", meshwire.MaxFailures)
	spans(&all, s, "backoff_ms", meshwire.Backoff)
	flagged(&all, s, "hold_after_dead_letter", meshwire.HoldAfterDeadLetter)
	flagged(&all, s, "strict_order", meshwire.StrictOrder)
	given(&all, s, "max_in_flight", meshwire.MaxInFlight)
	given(&all, s, "max_rate", meshwire.MaxRate)
	return all
}

// place is a position: a word, a number or a time.
func (c command) place(name string) (place meshwire.Position) {
	if c[name] == nil || json.Unmarshal(c[name], &place) == nil {
		return place
	}
	of := field[command](c, name)
	switch {
	case of["position"] != nil:
		return meshwire.At(field[uint64](of, "position"))
	case of["ago_ms"] != nil:
		return meshwire.AtTime(time.Now().Add(-of.span("ago_ms")))
	}
	return meshwire.AtTime(get[time.Time](&marks, of.text("mark")))
}

// event is an event to publish.
func (c command) event() (e meshwire.Event) {
	for _, name := range []string{"id", "source", "type", "subject"} {
		e.Set(name, c.text(name))
	}
	e.Key, e.Extensions = c.text("key"), object{}
	for name, value := range field[object](c, "attributes") {
		number, isNumber := value.(float64)
		text, isText := value.(string)
		switch {
		case isNumber:
			e.Extensions[name] = int64(number)
		case isText && slices.Contains([]string{"subject", "time", "datacontenttype", "dataschema"}, name):
			e.Set(name, text)
		default:
			e.Extensions[name] = value
		}
	}
	switch {
	case c["data"] != nil:
		e.Data = meshwire.Text(c.text("data"))
	case c["json"] != nil:
		e.Data = meshwire.JSON(c["json"])
	case c["data_b64"] != nil:
		e.Data = meshwire.Bytes(field[[]byte](c, "data_b64"))
	case c["zeros"] != nil:
		e.Data = meshwire.Bytes(make([]byte, field[int](c, "zeros")))
	}
	return e
}

// message tells of an event that came.
func message(m *meshwire.Message) object {
	line := object{"id": m.ID, "source": m.Source, "type": m.Type, "attributes": maps.Collect(m.Attributes())}
	switch {
	case !m.HasData:
	case len(m.Data) > 1024:
		line["data_bytes"] = len(m.Data)
	case m.IsText:
		line["data"] = m.Text()
	default:
		line["data_b64"] = m.Data
	}
	return line
}
