// What only shows from inside: the tests of what a program sees are in the folder tests, and use the client as an installed package.
package meshwire

import (
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// sees waits until a goroutine is in a function, and waits there for a lock; false: something else came first.
func sees(function string, first <-chan struct{}) bool {
	all := make([]byte, 1<<20)
	for {
		select {
		case <-first:
			return false
		default:
		}
		for _, one := range strings.Split(string(all[:runtime.Stack(all, true)]), "\n\n") {
			head, rest, _ := strings.Cut(one, "\n")
			if strings.Contains(head, "[sync.Mutex.Lock") && strings.Contains(rest, function) {
				return true
			}
		}
		runtime.Gosched()
	}
}

func TestAFlushReturnsWhenTheAcksThatAnotherOneTookHaveCrossed(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	var crossed []native.Handle
	s := &settles{cross: func(acks []native.Handle) {
		close(began)
		<-goOn
		crossed = append(crossed, acks...)
	}}
	s.ack(7)
	go s.flush()
	<-began
	ended := make(chan struct{})
	go func() {
		s.flush()
		close(ended)
	}()
	if !sees("(*settles).flush", ended) {
		t.Error("it returned while an ack was on its way")
	}
	close(goOn)
	<-ended
	if len(crossed) != 1 || crossed[0] != 7 {
		t.Error(crossed)
	}
}

func TestAnAckDoesNotWaitForOthersThatCross(t *testing.T) {
	began, goOn, all := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var once sync.Once
	count := 0
	s := &settles{cross: func(acks []native.Handle) {
		once.Do(func() { close(began) })
		<-goOn
		if count += len(acks); count == 1+2*settleMost {
			close(all)
		}
	}}
	s.ack(1)
	go s.flush()
	<-began
	acked := make(chan struct{})
	go func() {
		for at := range 2 * settleMost {
			s.ack(native.Handle(at + 2))
		}
		close(acked)
	}()
	select {
	case <-acked:
	case <-time.After(30 * time.Second):
		t.Error("an ack waits")
	}
	// The timer has them cross.
	close(goOn)
	select {
	case <-all:
	case <-time.After(30 * time.Second):
		t.Error("acks that came meanwhile stay")
	}
}

func TestTheLastLoggerThatLeavesEndsTheGoroutineAlsoOfTwoThatLeaveAtOnce(t *testing.T) {
	defer func(kept bool) { logs.kept = kept }(logs.kept)
	// The library is not asked.
	logs.kept, logs.loggers = true, make(map[*slog.Logger]int)
	coarse := &slog.HandlerOptions{Level: levels[coarsest]}
	for round := range 50_000 {
		ended := make(chan struct{})
		close(ended)
		logs.stop, logs.stopped = make(chan struct{}), ended
		var ready atomic.Int32
		var left sync.WaitGroup
		left.Add(2)
		for range 2 {
			logger := slog.New(slog.NewTextHandler(io.Discard, coarse))
			if err := listen(logger); err != nil {
				t.Fatal(err)
			}
			go func() {
				defer left.Done()
				// They go on in the same moment: a goroutine that was asleep would be late.
				for ready.Add(1); ready.Load() < 2; {
					runtime.Gosched()
				}
				(&logging{logger}).leave()
			}()
		}
		left.Wait()
		if logs.stop != nil || len(logs.loggers) > 0 {
			t.Fatalf("nobody ended it in round %d; loggers left: %d", round, len(logs.loggers))
		}
	}
}
