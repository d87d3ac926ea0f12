package meshwire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
	"github.com/meshwire/meshwire-go/meshwiretest"
)

func TestTheLibraryIsLinkedAsTheBuildSays(t *testing.T) {
	info := meshwire.LinkInfo()
	if info.Static == (os.Getenv("MESHWIRE_LINK") == "shared") || info.Version == "" {
		t.Errorf("%+v", info)
	}
}

func TestAClosedClientLeavesNoGoroutine(t *testing.T) {
	use := func() {
		ctx := patience(t)
		mesh := must[*meshwire.Client](t)(meshwire.Connect(ctx, gateway.URL, meshwire.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))))
		to := topic(t)
		publish(t, mesh, to, 100)
		sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
		d := must[*meshwire.Delivery](t)(sub.Next(ctx))
		fine(t, d.Ack())
		fine(t, sub.Close())
		consuming, stop := context.WithCancel(ctx)
		fine(t, mesh.Consume(consuming, to, func(context.Context, *meshwire.Delivery) error {
			stop()
			return nil
		}, meshwire.Group("h")))
		if _, err := mesh.Request(ctx, "nobody", "x"); !errors.Is(err, meshwire.ErrNoResponders) {
			t.Error(err)
		}
		fine(t, mesh.Close())
	}
	use()
	before := runtime.NumGoroutine()
	for range 5 {
		use()
	}
	// Goroutines that have ended may still be counted for a moment.
	for wait := time.Now(); runtime.NumGoroutine() > before && time.Since(wait) < 5*time.Second; {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before:\n%s", after, before, stacks[:runtime.Stack(stacks, true)])
	}
}

func TestAForgottenClientIsLetGoOf(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		mesh := must[*meshwire.Client](t)(meshwire.Connect(patience(t), gateway.URL))
		must[*meshwire.Subscription](t)(mesh.Subscribe(patience(t), topic(t)))
	}()
	for wait := time.Now(); runtime.NumGoroutine() > before; {
		runtime.GC()
		if time.Since(wait) > 10*time.Second {
			t.Fatal("its pump is still there")
		}
		runtime.Gosched()
	}
}

func TestHooksSeeAndAddToWhatIsPublishedAndDelivered(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	say := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, text)
	}
	mesh, ctx, to := connect(t, meshwire.WithHooks(meshwire.Hooks{
		OnPublish: func(ctx context.Context, topic string, e *meshwire.Event) error {
			if e.Get("subject") == "secret" {
				return errors.New("not this one")
			}
			e.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			say("publish " + topic)
			return nil
		},
		OnDelivery: func(d *meshwire.Delivery) { say("delivery " + d.ID) },
		OnSettle:   func(d *meshwire.Delivery, how string) { say(how + " " + d.ID) },
	})), patience(t), topic(t)
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x", meshwire.ID("1")))
	_, err := mesh.Publish(ctx, to, "x", meshwire.Subject("secret"))
	if !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), "not this one") {
		t.Error(err)
	}
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	d := must[*meshwire.Delivery](t)(sub.Next(ctx))
	if trace, ok := d.Attribute("traceparent"); !ok || !strings.HasPrefix(trace, "00-") {
		t.Error(trace)
	}
	fine(t, d.AckConfirmed(ctx))
	// Its words are those of every language.
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x", meshwire.ID("2")))
	fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).NackAfter(time.Hour))
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x", meshwire.ID("3")))
	fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).Forget())
	wanted := fmt.Sprint([]string{
		"publish " + to, "delivery 1", "ack 1", "publish " + to, "delivery 2", "nack 2", "publish " + to, "delivery 3", "dropped 3",
	})
	if mu.Lock(); fmt.Sprint(seen) != wanted {
		t.Error(seen)
	}
	mu.Unlock()
}

// lines is a writer that many may use.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestWhatTheLibraryLogsGoesToTheLogger(t *testing.T) {
	said := &lines{}
	mesh := connect(t, meshwire.WithLogger(slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	// Its first line says what a subscription without a group is.
	must[*meshwire.Subscription](t)(mesh.Subscribe(patience(t), topic(t)))
	for wait := time.Now(); !strings.Contains(said.String(), "target=meshwire"); {
		if time.Since(wait) > 10*time.Second {
			t.Fatalf("nothing was logged: %s", said)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestEachLoggerGetsWhatItsLevelSays(t *testing.T) {
	logger := func(level slog.Leveler) (*lines, meshwire.ConnectOption) {
		said := &lines{}
		return said, meshwire.WithLogger(slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: level})))
	}
	has := func(said *lines, what string) {
		t.Helper()
		for wait := time.Now(); !strings.Contains(said.String(), what); {
			if time.Since(wait) > 10*time.Second {
				t.Fatalf("%s was not logged: %s", what, said)
			}
			time.Sleep(time.Millisecond)
		}
	}
	// Its first line says what a subscription without a group is.
	says := func(mesh *meshwire.Client) {
		fine(t, must[*meshwire.Subscription](t)(mesh.Subscribe(patience(t), topic(t))).Close())
	}
	coarse, first := logger(slog.LevelError)
	connect(t, first)
	curious, second := logger(slog.LevelInfo)
	says(connect(t, second))
	// What it is about has fields of its own.
	has(curious, "level=INFO msg=\"subscribing without a group")
	has(curious, "after a restart\" topic=")
	// A level that changes while the program runs.
	var level slog.LevelVar
	level.Set(slog.LevelError)
	late, third := logger(&level)
	mesh := connect(t, third)
	level.Set(slog.LevelDebug)
	for wait := time.Now(); !strings.Contains(late.String(), "level=INFO"); {
		if time.Since(wait) > 10*time.Second {
			t.Fatalf("the new level does not hold: %s", late)
		}
		says(mesh)
	}
	if strings.Contains(coarse.String(), "level=INFO") {
		t.Error(coarse)
	}
}

func TestStateAndCountsAreThoseOfTheClient(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t, meshwire.ClientName("counting")), topic(t)
	fine(t, mesh.Connected(ctx))
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x"))
	stats := must[meshwire.Stats](t)(mesh.Stats())
	if stats.Published != 1 || stats.Pending != 0 || len(stats.All) < 9 || mesh.State() != meshwire.StateConnected {
		t.Errorf("%+v %s", stats, mesh.State())
	}
	var states []meshwire.State
	done := make(chan struct{})
	go func() {
		defer close(done)
		for state := range mesh.States(ctx) {
			if states = append(states, state); len(states) == 1 {
				go mesh.Close()
			}
		}
	}()
	<-done
	if states[0] != meshwire.StateConnected || states[len(states)-1] != meshwire.StateClosed {
		t.Error(states)
	}
}

func TestWithAnOfflineFileAPublishIsAdmittedWithoutAGatewayAndArrivesLater(t *testing.T) {
	ctx, to := patience(t), topic(t)
	free := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	address := "tcp://" + free.Addr().String()
	fine(t, free.Close())
	first := meshwiretest.Start(t, "--memory", "--listen-also", address)
	file := t.TempDir() + "/offline"
	mesh := must[*meshwire.Client](t)(meshwire.Connect(ctx, address, meshwire.Offline(file)))
	first.Kill()
	pending := must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, "kept"))
	if _, err := os.Stat(file); err != nil || pending.Done() {
		t.Fatal(err)
	}
	meshwiretest.Start(t, "--memory", "--listen-also", address)
	if receipt := must[meshwire.Receipt](t)(pending.Receipt(ctx)); receipt.Position != 1 {
		t.Errorf("%+v", receipt)
	}
	mesh.Drain(instantly(t))
}

// cloud has the shape of the official SDK's events.
type cloud struct{ extensions map[string]any }

func (cloud) ID() string                   { return "ce-1" }
func (cloud) Source() string               { return "/ce" }
func (cloud) Type() string                 { return "ce.made" }
func (cloud) Subject() string              { return "s" }
func (cloud) Time() time.Time              { return time.Unix(1, 0) }
func (cloud) DataContentType() string      { return "application/json" }
func (cloud) DataSchema() string           { return "" }
func (c cloud) Extensions() map[string]any { return c.extensions }
func (cloud) Data() []byte                 { return []byte(`{"n":1}`) }

func TestAnEventOfTheCloudEventsSDKIsTakenByItsShape(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	e := cloud{map[string]any{"partitionkey": "k", "n": int32(5)}}
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, e))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	d := must[*meshwire.Delivery](t)(sub.Next(ctx))
	n, _ := d.Attribute("n")
	if d.ID != "ce-1" || d.Source != "/ce" || d.Key != "k" || n != "5" || d.Text() != `{"n":1}` || !d.Time().Equal(time.Unix(1, 0)) {
		t.Errorf("%+v", d)
	}
	fine(t, d.Ack())
}

func TestEverythingIsAdministered(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	made := must[meshwire.Topic](t)(mesh.Topics().Create(ctx, to, meshwire.TopicSettings{Durability: "memory", Retention: meshwire.Span(time.Hour)}))
	if made.Name != to || made.Retention.Duration() != time.Hour || made.Durability != "memory" {
		t.Errorf("%+v", made)
	}
	if _, err := mesh.Topics().Create(ctx, to, meshwire.TopicSettings{Durability: "synced"}); !errors.Is(err, meshwire.ErrAlreadyExists) {
		t.Error(err)
	}
	must[meshwire.Topic](t)(mesh.Topics().Update(ctx, to, meshwire.TopicSettings{RetentionBytes: meshwire.Ptr(int64(1 << 20))}))
	groups := mesh.Groups(to)
	must[meshwire.GroupInfo](t)(groups.Create(ctx, "g", meshwire.Earliest, meshwire.GroupSettings{MaxFailures: meshwire.Ptr(uint32(1))}))
	must[meshwire.GroupInfo](t)(groups.Update(ctx, "g", meshwire.GroupSettings{BackoffMin: meshwire.Span(0)}))
	publish(t, mesh, to, 3)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	for range 3 {
		fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).RejectConfirmed(ctx, "no"))
	}
	letters, numbers := mesh.DeadLetters(to, "g"), []uint64{}
	for letter, err := range letters.List(ctx) {
		fine(t, err)
		numbers = append(numbers, letter.Number)
	}
	if len(numbers) != 3 {
		t.Fatal(numbers)
	}
	if one := must[meshwire.DeadLetter](t)(letters.Get(ctx, numbers[0])); one.Error != "no" {
		t.Errorf("%+v", one)
	}
	if given := must[meshwire.Redriven](t)(letters.Redrive(ctx, numbers[0])); given.Count != 1 {
		t.Errorf("%+v", given)
	}
	// None are not all.
	if given, err := letters.Redrive(ctx); !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), "RedriveAll") {
		t.Error(given, err)
	}
	if purged, err := letters.Purge(ctx, []uint64{}...); !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), "PurgeAll") {
		t.Error(purged, err)
	}
	if given := must[meshwire.Redriven](t)(letters.RedriveAll(ctx)); given.Count == 0 {
		t.Errorf("%+v", given)
	}
	if purged := must[uint64](t)(letters.PurgeAll(ctx)); purged == 0 {
		t.Error(purged)
	}
	fine(t, sub.Close())
	must[meshwire.GroupInfo](t)(groups.Seek(ctx, "g", meshwire.At(2)))
	names := []string{}
	for group, err := range groups.List(ctx) {
		fine(t, err)
		names = append(names, group.Name)
	}
	must[meshwire.GroupInfo](t)(groups.Delete(ctx, "g"))
	found := false
	for each, err := range mesh.Topics().List(ctx) {
		fine(t, err)
		found = found || each.Name == to
	}
	if !found || fmt.Sprint(names) != "[g]" {
		t.Error(found, names)
	}
	must[meshwire.Topic](t)(mesh.Topics().Delete(ctx, to, true))
	limits := must[meshwire.LimitsInForce](t)(mesh.Limits().Set(ctx, meshwire.GatewayLimits{DeliverRate: meshwire.Ptr(uint64(1_000_000_000))}))
	if *must[meshwire.LimitsInForce](t)(mesh.Limits().Get(ctx)).DeliverRate != *limits.DeliverRate {
		t.Error("the limit does not hold")
	}
	must[meshwire.LimitsInForce](t)(mesh.Limits().Set(ctx, meshwire.GatewayLimits{DeliverRate: meshwire.Ptr(uint64(0))}))
}

// counting is a fake.
type counting struct {
	meshwire.Publisher
	topics []string
}

func (c *counting) Publish(_ context.Context, to string, _ any, _ ...meshwire.EventOption) (meshwire.Receipt, error) {
	c.topics = append(c.topics, to)
	return meshwire.Receipt{Position: uint64(len(c.topics))}, nil
}

func TestProgramsAreTestedWithFakes(t *testing.T) {
	fake := &counting{}
	var mesh meshwire.Publisher = fake
	receipt := must[meshwire.Receipt](t)(mesh.Publish(context.Background(), "orders", "x"))
	d := &meshwire.Delivery{Message: meshwire.Message{ID: "1", Data: []byte("3")}}
	var n int
	if fine(t, d.JSON(&n)); receipt.Position != 1 || n != 3 || fake.topics[0] != "orders" {
		t.Error(receipt, n)
	}
}

func TestAProcessMayEndAtAnyMoment(t *testing.T) {
	for _, how := range []string{"publishing", "receiving", "handling", "exiting"} {
		program := exec.Command(os.Args[0], "-test.run=TestTheProgramThatEnds", "-test.v=false")
		program.Env = append(os.Environ(), "MESHWIRE_END="+how, "MESHWIRE_AT="+gateway.URL)
		began := time.Now()
		said, err := program.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 7 || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %v %s", how, err, said)
		}
	}
}

func TestTheProgramThatEnds(t *testing.T) {
	how := os.Getenv("MESHWIRE_END")
	if how == "" {
		return
	}
	ctx := patience(t)
	mesh := must[*meshwire.Client](t)(meshwire.Connect(ctx, os.Getenv("MESHWIRE_AT")))
	for range 1000 {
		must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, "ending", "x"))
	}
	end := func() { os.Exit(7) }
	switch how {
	case "publishing":
		end()
	case "receiving":
		sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, "ending", meshwire.StartEarliest()))
		must[*meshwire.Delivery](t)(sub.Next(ctx))
		go sub.Next(ctx)
		end()
	case "handling":
		mesh.Consume(ctx, "ending", func(context.Context, *meshwire.Delivery) error { end(); return nil }, meshwire.Group("g"), meshwire.Concurrency(8))
	default:
		go mesh.Close()
		end()
	}
}

func TestEveryCountOfTheLibraryIsAField(t *testing.T) {
	stats := must[meshwire.Stats](t)(connect(t).Stats())
	fields := map[string]bool{}
	for n, kind := 0, reflect.TypeOf(stats); n < kind.NumField(); n++ {
		fields[kind.Field(n).Tag.Get("json")] = true
	}
	for name := range stats.All {
		if !fields[name] {
			t.Errorf("%s is no field of Stats", name)
		}
	}
	if len(stats.All) < 20 || stats.Carrier != "tcp" {
		t.Errorf("%+v", stats)
	}
}

func TestTheLibraryReadsTheOptionsOfTheOfflineBuffer(t *testing.T) {
	wrong := map[string]meshwire.ConnectOption{
		"offline_max_bytes": meshwire.OfflineMaxBytes(1), "offline_max_age": meshwire.OfflineMaxAge(time.Millisecond),
		"offline_sync": meshwire.OfflineSync("never"),
	}
	for name, option := range wrong {
		_, err := meshwire.Connect(patience(t), gateway.URL, meshwire.Offline(""), option)
		if !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHooksSeeWhatAHandlerSettlesItself(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	mesh, ctx, to := connect(t, meshwire.WithHooks(meshwire.Hooks{
		OnSettle: func(d *meshwire.Delivery, how string) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, how+" "+d.Text())
		},
	})), patience(t), topic(t)
	texts := []string{"ack", "nack", "later", "reject", "error", "fine"}
	for _, text := range texts {
		must[meshwire.Receipt](t)(mesh.Publish(ctx, to, text))
	}
	consuming, stop := context.WithCancel(ctx)
	handled := 0
	fine(t, mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		if handled++; handled == len(texts) {
			stop()
		}
		switch d.Text() {
		case "ack":
			return d.Ack()
		case "nack":
			return d.Nack()
		case "later":
			return d.NackAfter(time.Hour)
		case "reject":
			return d.Reject("no")
		case "error":
			return errors.New("no")
		}
		return nil
	}, meshwire.Group("g"), meshwire.Backoff(time.Hour, time.Hour)))
	if mu.Lock(); fmt.Sprint(seen) != "[ack ack nack nack nack later reject reject nack error ack fine]" {
		t.Error(seen)
	}
	mu.Unlock()
}

func TestAHookMayCloseItsSubscription(t *testing.T) {
	closes := make(chan *meshwire.Subscription, 1)
	mesh, ctx, to := connect(t, meshwire.WithHooks(meshwire.Hooks{
		OnDelivery: func(*meshwire.Delivery) {
			select {
			case sub := <-closes:
				sub.Close()
			default:
			}
		},
	})), patience(t), topic(t)
	publish(t, mesh, to, 3)
	for _, most := range []int{1, 3} {
		sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
		closes <- sub
		for _, d := range must[[]*meshwire.Delivery](t)(sub.NextBatch(ctx, most)) {
			fine(t, d.Ack())
		}
		if _, err := sub.Next(ctx); !errors.Is(err, meshwire.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestAHookThatPanicsIsLoggedAndEndsNothing(t *testing.T) {
	said := &lines{}
	mesh, ctx, to := connect(t, meshwire.WithLogger(slog.New(slog.NewTextHandler(said, nil))), meshwire.WithHooks(meshwire.Hooks{
		OnPublish: func(_ context.Context, _ string, e *meshwire.Event) error {
			if e.ID == "bad" {
				panic("planned at publish")
			}
			return nil
		},
		OnDelivery: func(*meshwire.Delivery) { panic("planned at delivery") },
		OnSettle:   func(*meshwire.Delivery, string) { panic("planned at settle") },
	})), patience(t), topic(t)
	if _, err := mesh.Publish(ctx, to, "x", meshwire.ID("bad")); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
	publish(t, mesh, to, 2)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).AckConfirmed(ctx))
	fine(t, sub.Close())
	consuming, stop := context.WithCancel(ctx)
	fine(t, mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		stop()
		return nil
	}, meshwire.Group("g")))
	for _, where := range []string{"publish", "delivery", "settle"} {
		if !strings.Contains(said.String(), "planned at "+where) {
			t.Error(said)
		}
	}
}
