package meshwire

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// said is options on their way to the library, which alone knows what they mean: name=value, a line each.
type said struct {
	lines strings.Builder
	err   error
}

func (s *said) set(name, value string) {
	if strings.ContainsAny(name+value, "\n\r\x00") {
		s.err = invalid("options", fmt.Sprintf("option %s has a line break or a NUL in it", name), nil)
		return
	}
	s.lines.WriteString(name + "=" + value + "\n")
}

// text is all of them; more than one line even of one.
func (s *said) text() string { return "\n" + s.lines.String() }

type connectSaid struct {
	said
	hooks  Hooks
	logger *slog.Logger
	level  slog.Level
}

type requestSaid struct {
	said
	event Event
}

// ConnectOption is an option of Connect.
type ConnectOption interface{ connect(*connectSaid) }

// SubscribeOption is an option of Subscribe, and of Consume.
type SubscribeOption interface {
	ConsumeOption
	subscribe(*said)
}

// ConsumeOption is an option of Consume.
type ConsumeOption interface{ consume(*said) }

// ServeOption is an option of Serve and ServeStream.
type ServeOption interface{ serve(*said) }

// RequestOption is an option of Request and RequestStream.
type RequestOption interface{ request(*requestSaid) }

type pair struct{ name, value string }

type (
	connectPair      pair
	subscriptionPair pair
	groupPair        pair
	handlerPair      pair
	requestPair      pair
	anyPair          pair
)

func (p connectPair) connect(s *connectSaid) { s.set(p.name, p.value) }
func (p subscriptionPair) subscribe(s *said) { s.set(p.name, p.value) }
func (p subscriptionPair) consume(s *said)   { s.set(p.name, p.value) }
func (p groupPair) subscribe(s *said)        { s.set(p.name, p.value) }
func (p groupPair) consume(s *said)          { s.set(p.name, p.value) }
func (p groupPair) serve(s *said)            { s.set(p.name, p.value) }
func (p handlerPair) consume(s *said)        { s.set(p.name, p.value) }
func (p handlerPair) serve(s *said)          { s.set(p.name, p.value) }
func (p requestPair) request(s *requestSaid) { s.set(p.name, p.value) }
func (p anyPair) connect(s *connectSaid)     { s.set(p.name, p.value) }
func (p anyPair) subscribe(s *said)          { s.set(p.name, p.value) }
func (p anyPair) consume(s *said)            { s.set(p.name, p.value) }
func (p anyPair) serve(s *said)              { s.set(p.name, p.value) }
func (p anyPair) request(s *requestSaid)     { s.set(p.name, p.value) }

// AnyOption is an option of every call.
type AnyOption interface {
	ConnectOption
	SubscribeOption
	ServeOption
	RequestOption
}

// Option is any option by the name and form that the documentation's table of options has, such as Option("max_rate", "100"). Those that a
// call does not have are refused by it, with the ones it has.
func Option(name, value string) AnyOption { return anyPair{name, value} }

func duration(d time.Duration) string { return strconv.FormatInt(millis(d), 10) + "ms" }
func count(n int) string              { return strconv.Itoa(n) }
func bytes(n int64) string            { return strconv.FormatInt(n, 10) }

// ClientName is the program's name, by which gateways know it.
func ClientName(name string) ConnectOption { return connectPair{"name", name} }

// ConnectTimeout is how long Connect may take in all. Default 5 s.
func ConnectTimeout(d time.Duration) ConnectOption {
	return connectPair{"connect_timeout", duration(d)}
}

// ConnectWait has Connect try again for so long where every address refuses, as when containers start together. Default 0: not at all.
func ConnectWait(d time.Duration) ConnectOption { return connectPair{"connect_wait", duration(d)} }

// PublishWindow bounds what is published and unanswered. Default 16,384 events and 64 MiB.
func PublishWindow(events int, size int64) ConnectOption {
	return connectOption(func(s *connectSaid) {
		s.set("publish_window_events", count(events))
		s.set("publish_window_bytes", bytes(size))
	})
}

// PublishTimeout is how long Publish waits for its receipt. Default 0: as long as it takes.
func PublishTimeout(d time.Duration) ConnectOption {
	return connectPair{"publish_timeout", duration(d)}
}

// Reconnect is the first and the longest wait before a reconnect. Default 50 ms and 5 s.
func Reconnect(first, longest time.Duration) ConnectOption {
	return connectOption(func(s *connectSaid) {
		s.set("reconnect_min", duration(first))
		s.set("reconnect_max", duration(longest))
	})
}

// RequestWindow bounds the requests that have not all of their replies. Default 16,384.
func RequestWindow(requests int) ConnectOption { return connectPair{"request_window", count(requests)} }

// Offline keeps what is published while there is no gateway: in memory, or in a file, where one is named.
func Offline(file string) ConnectOption {
	return connectOption(func(s *connectSaid) {
		s.set("publish_offline", "buffer")
		if file != "" {
			s.set("offline_file", file)
		}
	})
}

// OfflineMaxBytes bounds the offline buffer, in place of PublishWindow. Default 64 MiB.
func OfflineMaxBytes(size int64) ConnectOption { return connectPair{"offline_max_bytes", bytes(size)} }

// OfflineMaxAge is how long an event waits in the offline buffer before its publish fails. Default 24 h.
func OfflineMaxAge(d time.Duration) ConnectOption { return connectPair{"offline_max_age", duration(d)} }

// OfflineSync is what a publish waits for where there is an offline file: "synced", which is the default, or "written".
func OfflineSync(level string) ConnectOption { return connectPair{"offline_sync", level} }

// Token logs in with a bearer token.
func Token(token string) ConnectOption { return connectPair{"token", token} }

// TokenFile logs in with the token of a file, which is read anew for each login.
func TokenFile(path string) ConnectOption { return connectPair{"token_file", path} }

// Proxy is the HTTP proxy to go through; "none": none.
func Proxy(url string) ConnectOption { return connectPair{"proxy", url} }

// TLSRoots is a PEM file of whom to trust.
func TLSRoots(path string) ConnectOption { return connectPair{"client_tls_roots", path} }

// TLSServerName is the name that the gateway's certificate must have.
func TLSServerName(name string) ConnectOption { return connectPair{"client_tls_server_name", name} }

// TLSCertificate shows a certificate: PEM files of it and of its key.
func TLSCertificate(certificate, key string) ConnectOption {
	return connectOption(func(s *connectSaid) {
		s.set("client_tls_certificate", certificate)
		s.set("client_tls_key", key)
	})
}

type connectOption func(*connectSaid)

func (o connectOption) connect(s *connectSaid) { o(s) }

// Group is the consumer group: each event goes to one of its members. A new group starts at the earliest event.
func Group(name string) interface {
	SubscribeOption
	ServeOption
} {
	return groupPair{"group", name}
}

// Broadcast has every member of the group get each event.
func Broadcast() SubscribeOption { return subscriptionPair{"broadcast", "true"} }

// Member is the name of a durable member of a broadcast group, whose place is kept.
func Member(name string) SubscribeOption { return subscriptionPair{"member", name} }

// StartEarliest has a new group, or a subscription without one, start at the earliest event.
func StartEarliest() SubscribeOption { return subscriptionPair{"start", "earliest"} }

// StartLatest has it start with what is published from now on.
func StartLatest() SubscribeOption { return subscriptionPair{"start", "latest"} }

// StartAt has it start at a position.
func StartAt(position uint64) SubscribeOption {
	return subscriptionPair{"start", strconv.FormatUint(position, 10)}
}

// StartTime has it start with the first event that was stored at a time or later.
func StartTime(at time.Time) SubscribeOption {
	return subscriptionPair{"start", at.UTC().Format(time.RFC3339Nano)}
}

// Prefetch is the credit: the most unsettled events and bytes. Default 256 and 8 MiB.
func Prefetch(events int, size int64) interface {
	SubscribeOption
	ServeOption
} {
	return prefetch{events, size}
}

type prefetch struct {
	events int
	size   int64
}

func (p prefetch) set(s *said) {
	s.set("prefetch_events", count(p.events))
	s.set("prefetch_bytes", bytes(p.size))
}
func (p prefetch) subscribe(s *said) { p.set(s) }
func (p prefetch) consume(s *said)   { p.set(s) }
func (p prefetch) serve(s *said)     { p.set(s) }

// AckWait is how long a delivery may stay unsettled. Default 30 s.
func AckWait(d time.Duration) SubscribeOption { return subscriptionPair{"ack_wait", duration(d)} }

// MaxFailures is after how many failures an event is a dead letter; 0: never. Default 5.
func MaxFailures(n int) SubscribeOption { return subscriptionPair{"max_failures", count(n)} }

// MaxAge has an event that has failed and was stored longer ago be a dead letter. Default 0: never.
func MaxAge(d time.Duration) SubscribeOption { return subscriptionPair{"max_age", duration(d)} }

// Backoff is the delay after a first nack, and the longest after others. Default 1 s and 60 s.
func Backoff(first, longest time.Duration) SubscribeOption { return backoff{first, longest} }

type backoff struct{ first, longest time.Duration }

func (b backoff) subscribe(s *said) {
	s.set("backoff_min", duration(b.first))
	s.set("backoff_max", duration(b.longest))
}
func (b backoff) consume(s *said) { b.subscribe(s) }

// HoldAfterDeadLetter has the events of a key wait while there is a dead letter of it.
func HoldAfterDeadLetter() SubscribeOption { return subscriptionPair{"hold_after_dead_letter", "true"} }

// StrictOrder has the group get one event of a key at a time: the next one comes when that is settled. Else several may be on their way to
// the member that has the key.
func StrictOrder() SubscribeOption { return subscriptionPair{"strict_order", "true"} }

// MaxInFlight bounds the unsettled events of the whole group.
func MaxInFlight(n int) SubscribeOption { return subscriptionPair{"max_in_flight", count(n)} }

// MaxRate bounds the deliveries a second to the whole group.
func MaxRate(n int) SubscribeOption { return subscriptionPair{"max_rate", count(n)} }

// Concurrency is how many handlers run at once; events of one key never do. Default 1.
func Concurrency(n int) interface {
	ConsumeOption
	ServeOption
} {
	return handlerPair{"handler_concurrency", count(n)}
}

// RequestTimeout is how long a request waits for its reply, or for the last one of a stream. Default 5 s.
func RequestTimeout(d time.Duration) RequestOption {
	return requestPair{"request_timeout", duration(d)}
}

// RetryRequest has a request that may be answered twice be made again when its responder is lost.
func RetryRequest() RequestOption { return requestPair{"retry", "true"} }

// ReplyCredit is how many replies of a stream are sent ahead. Default 64.
func ReplyCredit(n int) RequestOption { return requestPair{"reply_credit", count(n)} }

// WithHooks has functions see, and add to, what the client publishes and is delivered.
func WithHooks(hooks Hooks) ConnectOption {
	return connectOption(func(s *connectSaid) { s.hooks = hooks })
}

// WithLogger directs what the library logs to a logger, from its level on. The library logs for the whole process: every logger that a
// client was given gets all of it, once, for as long as that client is open.
func WithLogger(logger *slog.Logger) ConnectOption {
	return connectOption(func(s *connectSaid) { s.logger = logger })
}
