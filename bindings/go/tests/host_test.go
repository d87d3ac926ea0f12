package meshwire_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"runtime"
	"strings"
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
