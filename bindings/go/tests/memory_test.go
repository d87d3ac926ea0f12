package meshwire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
	"github.com/meshwire/meshwire-go/meshwiretest"
)

const (
	// growthMost is far below what comes through, which is 4 KiB each, and above what allocators do by themselves.
	growthMost = 12 << 20
	// objectsMost is below one object for each event or request.
	objectsMost = 1_000
)

var payload = make([]byte, 4<<10)

// resident is what the process has of memory, and Go of objects.
func resident(t *testing.T) (bytes, objects int) {
	t.Helper()
	runtime.GC()
	// Twice, as what has a cleanup goes with the second; and what Go keeps for later goes back.
	debug.FreeOSMemory()
	text := must[[]byte](t)(os.ReadFile("/proc/self/statm"))
	var size, pages int
	must[int](t)(fmt.Sscan(string(text), &size, &pages))
	var of runtime.MemStats
	runtime.ReadMemStats(&of)
	return pages * os.Getpagesize(), int(of.HeapObjects)
}

// steady does something so many times once the process is warm by a third of that, and sees that nothing is left of it.
func steady(t *testing.T, small, full int, do func(count int)) {
	t.Helper()
	count := small
	if os.Getenv("MESHWIRE_FULL") == "1" {
		count = full
	}
	do(count / 3)
	bytes, objects := resident(t)
	do(count)
	bytesNow, objectsNow := resident(t)
	if t.Logf("%d times: %d KiB, %d objects", count, (bytesNow-bytes)>>10, objectsNow-objects); bytesNow-bytes > growthMost || objectsNow-objects > objectsMost {
		t.Error("memory grows")
	}
}

// endurance is far beyond what the full size takes.
func endurance(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestMemoryDoesNotGrowOverWhatIsReceivedAndAcked(t *testing.T) {
	ctx, mesh, to := endurance(t), connect(t), topic(t)
	size := int64(1 << 20)
	must[meshwire.Topic](t)(mesh.Topics().Create(ctx, to, meshwire.TopicSettings{RetentionBytes: &size}))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	steady(t, 8_000, 100_000, func(count int) {
		for came, asked := 0, 0; came < count; {
			for ; asked < count && asked-came < 200; asked++ {
				must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, payload))
			}
			// One by one, and by the batch.
			d := must[*meshwire.Delivery](t)(sub.Next(ctx))
			fine(t, d.Ack())
			if came++; came == count {
				break
			}
			batch := must[[]*meshwire.Delivery](t)(sub.NextBatch(ctx, 64))
			for _, d := range batch {
				fine(t, d.Ack())
			}
			came += len(batch)
		}
		fine(t, mesh.Flush(ctx))
	})
}

func TestMemoryDoesNotGrowOverRequestsAndTheirReplies(t *testing.T) {
	ctx, mesh, to := endurance(t), connect(t), topic(t)
	serving(t, connect(t), to, func(_ context.Context, r *meshwire.Request) (any, error) { return r.Data, nil })
	steady(t, 4_000, 20_000, func(count int) {
		const atOnce = 16
		var all sync.WaitGroup
		for range atOnce {
			all.Add(1)
			go func() {
				defer all.Done()
				for range count / atOnce {
					if reply, err := mesh.Request(ctx, to, payload); err != nil || len(reply.Data) != len(payload) {
						t.Error(err)
						return
					}
				}
			}()
		}
		all.Wait()
	})
}

func TestMemoryDoesNotGrowOverReconnects(t *testing.T) {
	ctx, to := endurance(t), topic(t)
	free := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	address := "tcp://" + free.Addr().String()
	fine(t, free.Close())
	start := func() *meshwiretest.Gateway {
		return must[*meshwiretest.Gateway](t)(meshwiretest.Launch("--memory", "--listen-also", address))
	}
	gateway := start()
	t.Cleanup(func() { gateway.Kill() })
	mesh := must[*meshwire.Client](t)(meshwire.Connect(ctx, address, meshwire.Reconnect(time.Millisecond, 10*time.Millisecond)))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	steady(t, 15, 200, func(count int) {
		for range count {
			gateway.Kill()
			gateway = start()
			must[meshwire.Receipt](t)(mesh.Publish(ctx, to, payload))
			d := must[*meshwire.Delivery](t)(sub.Next(ctx))
			if err := d.AckConfirmed(ctx); err != nil && !errors.Is(err, meshwire.ErrLeaseLost) {
				t.Error(err)
			}
		}
	})
	if stats := must[meshwire.Stats](t)(mesh.Stats()); stats.Reconnects < 15 {
		t.Errorf("%+v", stats)
	}
	fine(t, sub.Close())
	fine(t, mesh.Close())
}
