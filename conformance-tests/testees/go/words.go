package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

// command is what the runner can ask for; what is absent is left to the client.
type command struct {
	ID           json.Number      `json:"id"`
	Op           string           `json:"op"`
	On           string           `json:"on"`
	As           string           `json:"as"`
	URL          string           `json:"url"`
	ClientName   *string          `json:"client_name"`
	TimeoutMs    *int64           `json:"timeout_ms"`
	WaitMs       *int64           `json:"wait_ms"`
	WindowEvents *int             `json:"window_events"`
	ReconnectMs  *[2]int64        `json:"reconnect_ms"`
	TLSRoots     string           `json:"tls_roots"`
	Topic        string           `json:"topic"`
	Event        spec             `json:"event"`
	Events       []spec           `json:"events"`
	DeliverAt    *time.Time       `json:"deliver_at"`
	DeliverAfter *int64           `json:"deliver_after_ms"`
	ExpiresIn    *int64           `json:"expires_in_ms"`
	Group        *string          `json:"group"`
	Broadcast    bool             `json:"broadcast"`
	Member       *string          `json:"member"`
	Start        json.RawMessage  `json:"start"`
	To           json.RawMessage  `json:"to"`
	Prefetch     *[2]int64        `json:"prefetch"`
	Concurrency  *int             `json:"concurrency"`
	Gate         *int             `json:"gate"`
	Left         bool             `json:"left"`
	Open         int              `json:"open"`
	Batch        bool             `json:"batch"`
	Settings     settings         `json:"settings"`
	N            []int            `json:"n"`
	Confirmed    bool             `json:"confirmed"`
	DelayMs      *int64           `json:"delay_ms"`
	Reason       *string          `json:"reason"`
	Force        bool             `json:"force"`
	Durability   string           `json:"durability"`
	RetentionMs  *meshwire.Millis `json:"retention_ms"`
	Retention    *int64           `json:"retention_bytes"`
	Lagging      string           `json:"lagging"`
	Retry        bool             `json:"retry"`
	Credit       *int             `json:"credit"`
	Numbers      []uint64         `json:"numbers"`
	DeadlineMs   int64            `json:"deadline_ms"`
}

type settings struct {
	meshwire.GroupSettings
	BackoffMs *[2]meshwire.Millis `json:"backoff_ms"`
}

func (c command) reason() string {
	if c.Reason == nil {
		return ""
	}
	return *c.Reason
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (s settings) group() meshwire.GroupSettings {
	if s.BackoffMs != nil {
		s.BackoffMin, s.BackoffMax = &s.BackoffMs[0], &s.BackoffMs[1]
	}
	return s.GroupSettings
}

// given adds an option where the command has a value for it.
func given[O, V any](all *[]O, value *V, option func(V) O) {
	if value != nil {
		*all = append(*all, option(*value))
	}
}

func place(said json.RawMessage) (meshwire.Position, error) {
	var word string
	if json.Unmarshal(said, &word) == nil {
		return meshwire.Position(word), nil
	}
	var of struct {
		Position *uint64 `json:"position"`
		AgoMs    *int64  `json:"ago_ms"`
		Mark     string  `json:"mark"`
	}
	if err := json.Unmarshal(said, &of); err != nil {
		return "", err
	}
	switch {
	case of.Position != nil:
		return meshwire.At(*of.Position), nil
	case of.AgoMs != nil:
		return meshwire.AtTime(time.Now().Add(-ms(*of.AgoMs))), nil
	}
	at, err := marks.get(of.Mark, false)
	return meshwire.AtTime(at), err
}

func (c command) subscription() ([]meshwire.SubscribeOption, error) {
	var all []meshwire.SubscribeOption
	given(&all, c.Group, func(name string) meshwire.SubscribeOption { return meshwire.Group(name) })
	if c.Broadcast {
		all = append(all, meshwire.Broadcast())
	}
	given(&all, c.Member, meshwire.Member)
	if len(c.Start) > 0 && string(c.Start) != "null" {
		at, err := place(c.Start)
		if err != nil {
			return nil, err
		}
		all = append(all, meshwire.Option("start", string(at)))
	}
	type option = meshwire.SubscribeOption
	given(&all, c.Prefetch, func(of [2]int64) option { return meshwire.Prefetch(int(of[0]), of[1]) })
	s := c.Settings
	given(&all, s.AckWait, func(wait meshwire.Millis) option { return meshwire.AckWait(wait.Duration()) })
	given(&all, s.MaxFailures, func(n uint32) option { return meshwire.MaxFailures(int(n)) })
	given(&all, s.BackoffMs, func(of [2]meshwire.Millis) option { return meshwire.Backoff(of[0].Duration(), of[1].Duration()) })
	given(&all, s.HoldAfterDeadLetter, func(hold bool) option { return meshwire.Option("hold_after_dead_letter", fmt.Sprint(hold)) })
	given(&all, s.StrictOrder, func(strict bool) option { return meshwire.Option("strict_order", fmt.Sprint(strict)) })
	given(&all, s.MaxInFlight, func(n uint32) option { return meshwire.MaxInFlight(int(n)) })
	given(&all, s.MaxRate, func(n uint32) option { return meshwire.MaxRate(int(n)) })
	return all, nil
}

// spec is an event to publish.
type spec struct {
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	Type       string          `json:"type"`
	Key        string          `json:"key"`
	Subject    string          `json:"subject"`
	Attributes object          `json:"attributes"`
	Data       *string         `json:"data"`
	JSON       json.RawMessage `json:"json"`
	DataB64    []byte          `json:"data_b64"`
	Zeros      *int            `json:"zeros"`
}

func (s spec) event() meshwire.Event {
	e := meshwire.Event{ID: s.ID, Source: s.Source, Type: s.Type, Key: s.Key, Subject: s.Subject, Extensions: object{}}
	for name, value := range s.Attributes {
		switch value := value.(type) {
		case float64:
			e.Extensions[name] = int64(value)
		case string:
			switch name {
			case "subject", "time", "datacontenttype", "dataschema":
				e.Set(name, value)
			default:
				e.Extensions[name] = value
			}
		default:
			e.Extensions[name] = value
		}
	}
	switch {
	case s.Data != nil:
		e.Data = meshwire.Text(*s.Data)
	case len(s.JSON) > 0:
		e.Data = meshwire.JSON(s.JSON)
	case s.DataB64 != nil:
		e.Data = meshwire.Bytes(s.DataB64)
	case s.Zeros != nil:
		e.Data = meshwire.Bytes(make([]byte, *s.Zeros))
	}
	return e
}

// message is an event that came.
func message(m *meshwire.Message) object {
	attributes := object{}
	for name, value := range m.Attributes() {
		attributes[name] = value
	}
	line := object{"id": m.ID, "source": m.Source, "type": m.Type, "attributes": attributes}
	switch {
	case !m.HasData:
	case len(m.Data) > 1024:
		line["data_bytes"] = len(m.Data)
	case m.IsText:
		line["data"] = m.Text()
	default:
		line["data_b64"] = base64.StdEncoding.EncodeToString(m.Data)
	}
	return line
}

func problem(err error) object {
	var e *meshwire.Error
	if !errors.As(err, &e) {
		return object{"code": "TESTEE", "message": err.Error()}
	}
	return object{"code": e.Code, "num": e.Number, "retry": e.Retry, "operation": e.Operation, "message": e.Error()}
}
