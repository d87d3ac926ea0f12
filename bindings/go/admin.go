package meshwire

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Millis is a time span as the gateway's settings have it.
type Millis int64

// Span makes Millis.
func Span(d time.Duration) *Millis { m := Millis(millis(d)); return &m }

// Duration is the same as Go has it.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Position is a place in a topic. Where it is said it is "earliest", "latest", digits, or a time as RFC 3339.
type Position string

// At is a position by its number.
func At(number uint64) Position { return Position(strconv.FormatUint(number, 10)) }

// AtTime is the position of the first event that was stored then or later.
func AtTime(at time.Time) Position { return Position(at.UTC().Format(time.RFC3339Nano)) }

// Ends of a topic.
const (
	Earliest Position = "earliest"
	Latest   Position = "latest"
)

// Number is a position that the gateway gave, as a number.
func (p Position) Number() uint64 { n, _ := strconv.ParseUint(string(p), 10, 64); return n }

// Ptr is for settings of which only those that are said are to change: Ptr(3).
func Ptr[T any](value T) *T { return &value }

// administer gives a command with its arguments to the gateway, and reads its answer.
func (c *Client) administer(ctx context.Context, command string, arguments, answer any) error {
	if err := c.check(ctx, command); err != nil {
		return err
	}
	said, err := json.Marshal(arguments)
	if err != nil {
		return invalid(command, "the arguments cannot be written as JSON", err)
	}
	completion, err := c.wait(ctx, native.Admin(c.mesh, command, string(said)))
	if err != nil {
		return err
	}
	text := native.TakeText(completion.Value)
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(text), answer); err != nil {
		return &Error{Code: CodeInternal, Number: numberOf(ErrInternal), Retry: RetryNever, Operation: command,
			Message: "the answer cannot be read", cause: err}
	}
	return nil
}

// Topics administers topics.
func (c *Client) Topics() *Topics { return &Topics{c} }

// Topics administers topics.
type Topics struct{ client *Client }

// TopicSettings are what can be said of a topic; nil: as it is, or by default.
type TopicSettings struct {
	// Durability is memory, written or synced, and for ever.
	Durability     string  `json:"durability,omitempty"`
	Retention      *Millis `json:"retention_ms,omitempty"`
	RetentionBytes *int64  `json:"retention_bytes,omitempty"`
	// Lagging is drop or block: what becomes of what a group has not settled when retention would remove it.
	Lagging string `json:"lagging,omitempty"`
}

// Topic is a topic as the gateway has it.
type Topic struct {
	Name           string         `json:"name"`
	Durability     string         `json:"durability"`
	Retention      Millis         `json:"retention_ms"`
	RetentionBytes int64          `json:"retention_bytes"`
	Lagging        string         `json:"lagging"`
	First          Position       `json:"first"`
	Next           Position       `json:"next"`
	Events         uint64         `json:"events"`
	Bytes          uint64         `json:"bytes"`
	PhysicalBytes  uint64         `json:"physical_bytes"`
	Overtaken      uint64         `json:"overtaken"`
	Delayed        uint64         `json:"delayed"`
	Groups         []GroupInfo    `json:"groups"`
	Requests       *TopicRequests `json:"requests"`
}

// TopicRequests are the requests of a topic that is served.
type TopicRequests struct {
	Members     uint32 `json:"members"`
	Open        uint64 `json:"open"`
	Requests    uint64 `json:"requests"`
	LateReplies uint64 `json:"late_replies"`
}

type topicArguments struct {
	Topic string `json:"topic"`
	TopicSettings
}

// items are a list, or a page of one.
type items[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// pages iterates over pages, which are asked for as they are needed. An error is the last.
func pages[T any](ask func(cursor string) (items[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := ""; ; {
			page, err := ask(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if cursor = page.Next; cursor == "" {
				return
			}
		}
	}
}

// List are all topics.
func (t *Topics) List(ctx context.Context) iter.Seq2[Topic, error] {
	return pages(func(string) (page items[Topic], err error) {
		err = t.client.administer(ctx, "topics.list", struct{}{}, &page)
		return page, err
	})
}

// Get is one topic.
func (t *Topics) Get(ctx context.Context, name string) (topic Topic, err error) {
	err = t.client.administer(ctx, "topics.get", topicArguments{Topic: name}, &topic)
	return topic, err
}

// Create makes a topic; ALREADY_EXISTS: with other settings.
func (t *Topics) Create(ctx context.Context, name string, settings TopicSettings) (topic Topic, err error) {
	err = t.client.administer(ctx, "topics.create", topicArguments{name, settings}, &topic)
	return topic, err
}

// Update changes what is said.
func (t *Topics) Update(ctx context.Context, name string, settings TopicSettings) (topic Topic, err error) {
	err = t.client.administer(ctx, "topics.update", topicArguments{name, settings}, &topic)
	return topic, err
}

// Delete deletes a topic; one that is in use only by force.
func (t *Topics) Delete(ctx context.Context, name string, force bool) (topic Topic, err error) {
	err = t.client.administer(ctx, "topics.delete", map[string]any{"topic": name, "force": force}, &topic)
	return topic, err
}

// Groups administers the consumer groups of a topic.
func (c *Client) Groups(topic string) *Groups { return &Groups{c, topic} }

// Groups administers the consumer groups of a topic. A durable member of a broadcast group is named as "group/member".
type Groups struct {
	client *Client
	topic  string
}

// GroupSettings are what can be said of a group; nil: as it is, or by default.
type GroupSettings struct {
	AckWait             *Millis `json:"ack_wait_ms,omitempty"`
	MaxFailures         *uint32 `json:"max_failures,omitempty"`
	MaxAge              *Millis `json:"max_age_ms,omitempty"`
	BackoffMin          *Millis `json:"backoff_min_ms,omitempty"`
	BackoffMax          *Millis `json:"backoff_max_ms,omitempty"`
	HoldAfterDeadLetter *bool   `json:"hold_after_dead_letter,omitempty"`
	StrictOrder         *bool   `json:"strict_order,omitempty"`
	MaxInFlight         *uint32 `json:"max_in_flight,omitempty"`
	MaxRate             *uint32 `json:"max_rate,omitempty"`
}

// GroupInfo is a group as the gateway has it.
type GroupInfo struct {
	Name           string   `json:"name"`
	Mode           string   `json:"mode"`
	SettledThrough Position `json:"settled_through"`
	Members        uint32   `json:"members"`
	InFlight       uint64   `json:"in_flight"`
	Lag            uint64   `json:"lag"`
	Delayed        uint64   `json:"delayed"`
	Failing        uint64   `json:"failing"`
	Expired        uint64   `json:"expired"`
	DeadLetters    uint64   `json:"dead_letters"`
	Oldest         *Millis  `json:"oldest_ms"`
	GroupSettings
	DurableMembers []MemberInfo `json:"durable_members"`
}

// MemberInfo is a durable member of a broadcast group.
type MemberInfo struct {
	Name           string   `json:"name"`
	Connected      bool     `json:"connected"`
	SettledThrough Position `json:"settled_through"`
	InFlight       uint64   `json:"in_flight"`
	Lag            uint64   `json:"lag"`
	Delayed        uint64   `json:"delayed"`
	DeadLetters    uint64   `json:"dead_letters"`
}

type groupArguments struct {
	Topic  string   `json:"topic"`
	Group  string   `json:"group,omitempty"`
	Member string   `json:"member,omitempty"`
	Start  Position `json:"start,omitempty"`
	To     Position `json:"to,omitempty"`
	Mode   string   `json:"mode,omitempty"`
	GroupSettings
}

func (g *Groups) of(group string) groupArguments {
	name, member, _ := strings.Cut(group, "/")
	return groupArguments{Topic: g.topic, Group: name, Member: member}
}

// List are all groups of the topic.
func (g *Groups) List(ctx context.Context) iter.Seq2[GroupInfo, error] {
	return pages(func(string) (page items[GroupInfo], err error) {
		err = g.client.administer(ctx, "groups.list", g.of(""), &page)
		return page, err
	})
}

// Get is one group.
func (g *Groups) Get(ctx context.Context, group string) (info GroupInfo, err error) {
	err = g.client.administer(ctx, "groups.get", g.of(group), &info)
	return info, err
}

// Create makes a group that begins at start, "" being Earliest.
func (g *Groups) Create(
	ctx context.Context, group string, start Position, settings GroupSettings,
) (info GroupInfo, err error) {
	arguments := g.of(group)
	arguments.Start, arguments.GroupSettings = start, settings
	err = g.client.administer(ctx, "groups.create", arguments, &info)
	return info, err
}

// CreateBroadcast makes a broadcast group.
func (g *Groups) CreateBroadcast(
	ctx context.Context, group string, start Position, settings GroupSettings,
) (info GroupInfo, err error) {
	arguments := g.of(group)
	arguments.Start, arguments.GroupSettings, arguments.Mode = start, settings, "broadcast"
	err = g.client.administer(ctx, "groups.create", arguments, &info)
	return info, err
}

// Update changes what is said.
func (g *Groups) Update(ctx context.Context, group string, settings GroupSettings) (info GroupInfo, err error) {
	arguments := g.of(group)
	arguments.GroupSettings = settings
	err = g.client.administer(ctx, "groups.update", arguments, &info)
	return info, err
}

// Seek moves a group.
func (g *Groups) Seek(ctx context.Context, group string, to Position) (info GroupInfo, err error) {
	arguments := g.of(group)
	arguments.To = to
	err = g.client.administer(ctx, "groups.seek", arguments, &info)
	return info, err
}

// Delete deletes a group.
func (g *Groups) Delete(ctx context.Context, group string) (info GroupInfo, err error) {
	err = g.client.administer(ctx, "groups.delete", g.of(group), &info)
	return info, err
}

// DeleteMember deletes a durable member of a broadcast group.
func (g *Groups) DeleteMember(ctx context.Context, group, member string) error {
	arguments := g.of(group)
	arguments.Member = member
	return g.client.administer(ctx, "groups.delete_member", arguments, nil)
}

// DeadLetters administers the dead letters of a topic, of one group where it is named, or of a durable member of it as "group/member".
func (c *Client) DeadLetters(topic string, group ...string) *DeadLetters {
	of := &DeadLetters{client: c, topic: topic}
	if len(group) > 0 {
		of.group = group[0]
	}
	return of
}

// DeadLetters administers dead letters.
type DeadLetters struct {
	client       *Client
	topic, group string
}

// DeadLetter is an event that was given up.
type DeadLetter struct {
	Number       uint64    `json:"number"`
	Group        string    `json:"group"`
	Member       string    `json:"member"`
	Position     Position  `json:"position"`
	Reason       string    `json:"reason"`
	Failures     uint32    `json:"failures"`
	Attempts     uint32    `json:"attempts"`
	Error        string    `json:"error"`
	FirstFailure time.Time `json:"first_failure"`
	LastFailure  time.Time `json:"last_failure"`
	Stored       time.Time `json:"stored"`
	Redriven     bool      `json:"redriven"`
	// Event is the event in the JSON format of CloudEvents.
	Event      json.RawMessage `json:"event"`
	EventError string          `json:"event_error"`
}

type letterArguments struct {
	Topic   string   `json:"topic"`
	Group   string   `json:"group,omitempty"`
	Member  string   `json:"member,omitempty"`
	Events  bool     `json:"events,omitempty"`
	Cursor  string   `json:"cursor,omitempty"`
	Number  *uint64  `json:"number,omitempty"`
	Numbers []uint64 `json:"numbers,omitempty"`
	All     bool     `json:"all,omitempty"`
}

func (d *DeadLetters) of() letterArguments {
	group, member, _ := strings.Cut(d.group, "/")
	return letterArguments{Topic: d.topic, Group: group, Member: member}
}

// change changes these, or all.
func (d *DeadLetters) change(ctx context.Context, command string, numbers []uint64, all bool, answer any) error {
	if !all && len(numbers) == 0 {
		return invalid(command, "no dead letter is named: name some by their numbers, or say RedriveAll or PurgeAll for all of them", nil)
	}
	arguments := d.of()
	arguments.Numbers, arguments.All = numbers, all
	return d.client.administer(ctx, command, arguments, answer)
}

// List are the dead letters with their events.
func (d *DeadLetters) List(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return pages(func(cursor string) (page items[DeadLetter], err error) {
		arguments := d.of()
		arguments.Events, arguments.Cursor = true, cursor
		err = d.client.administer(ctx, "dead_letters.list", arguments, &page)
		return page, err
	})
}

// Get is one of them.
func (d *DeadLetters) Get(ctx context.Context, number uint64) (letter DeadLetter, err error) {
	arguments := d.of()
	arguments.Number = &number
	err = d.client.administer(ctx, "dead_letters.get", arguments, &letter)
	return letter, err
}

// Redriven is what became of dead letters that were to be given back to their groups.
type Redriven struct {
	Count uint64 `json:"redriven"`
	// Left are those whose group is gone.
	Left     map[string]uint64 `json:"left"`
	NotThere uint64            `json:"not_there"`
}

// Redrive gives these back to their groups. INVALID: none is named.
func (d *DeadLetters) Redrive(ctx context.Context, numbers ...uint64) (redriven Redriven, err error) {
	err = d.change(ctx, "dead_letters.redrive", numbers, false, &redriven)
	return redriven, err
}

// RedriveAll gives all of them back to their groups.
func (d *DeadLetters) RedriveAll(ctx context.Context) (redriven Redriven, err error) {
	err = d.change(ctx, "dead_letters.redrive", nil, true, &redriven)
	return redriven, err
}

// purged is the answer to a purge.
type purged struct {
	Purged uint64 `json:"purged"`
}

// Purge removes these for good, and says how many. INVALID: none is named.
func (d *DeadLetters) Purge(ctx context.Context, numbers ...uint64) (uint64, error) {
	var done purged
	err := d.change(ctx, "dead_letters.purge", numbers, false, &done)
	return done.Purged, err
}

// PurgeAll removes all of them for good, and says how many.
func (d *DeadLetters) PurgeAll(ctx context.Context) (uint64, error) {
	var done purged
	err := d.change(ctx, "dead_letters.purge", nil, true, &done)
	return done.Purged, err
}

// Limits administers the limits of the whole gateway.
func (c *Client) Limits() *Limits { return &Limits{c} }

// Limits administers the limits of the whole gateway.
type Limits struct{ client *Client }

// GatewayLimits are limits of the whole gateway; nil: as it is. 0 is none.
type GatewayLimits struct {
	PublishRate        *uint64 `json:"publish_rate,omitempty"`
	PublishBytesRate   *uint64 `json:"publish_bytes_rate,omitempty"`
	PublishBudgetBytes *uint64 `json:"publish_budget_bytes,omitempty"`
	DeliverRate        *uint64 `json:"deliver_rate,omitempty"`
	DeliverBytesRate   *uint64 `json:"deliver_bytes_rate,omitempty"`
}

// LimitsInForce are the limits, and what is used of them.
type LimitsInForce struct {
	GatewayLimits
	UnkeptBytes  uint64 `json:"unkept_bytes"`
	SendingBytes uint64 `json:"sending_bytes"`
	SendingMost  uint64 `json:"sending_most"`
}

// Get are the limits in force.
func (l *Limits) Get(ctx context.Context) (limits LimitsInForce, err error) {
	err = l.client.administer(ctx, "limits.get", struct{}{}, &limits)
	return limits, err
}

// Set changes what is said, until the gateway ends.
func (l *Limits) Set(ctx context.Context, said GatewayLimits) (limits LimitsInForce, err error) {
	err = l.client.administer(ctx, "limits.set", said, &limits)
	return limits, err
}

// Attribute is an attribute of the event, as text; "": it has none of that name.
func (l DeadLetter) Attribute(name string) string {
	var event map[string]json.RawMessage
	if json.Unmarshal(l.Event, &event) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(event[name], &text) != nil {
		return string(event[name])
	}
	return text
}
