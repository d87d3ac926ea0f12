package meshwire_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
	"github.com/meshwire/meshwire-go/meshwiretest"
)

// Of the events that the program publishes the first have a receipt when it ends, and nobody has waited for the others.
const withReceipt, without = 10, 1000

// program is this one again: it has published, and ends.
type program struct {
	ctx  context.Context
	mesh *meshwire.Client
	to   string
}

// endings are how it ends.
var endings = map[string]struct {
	code int
	// all: all that it published is kept, also what nobody has waited for.
	all bool
	end func(*program)
}{
	"returns":                 {0, false, func(*program) {}},
	"exits":                   {7, false, func(*program) { os.Exit(7) }},
	"panics":                  {2, false, func(*program) { panic("planned") }},
	"panics elsewhere":        {2, false, func(*program) { go panic("planned"); select {} }},
	"is killed":               {-1, false, func(*program) { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }},
	"exits while it closes":   {7, false, func(p *program) { go p.mesh.Close(); os.Exit(7) }},
	"exits while it receives": {7, false, receiveAndExit},
	"exits in a handler":      {7, false, exitInHandler},
	"exits behind Flush":      {7, true, func(p *program) { giveUpOn(p.mesh.Flush(p.ctx)); os.Exit(7) }},
	"returns and closes":      {0, true, func(p *program) { defer p.mesh.Close() }},
	"panics and closes":       {2, true, func(p *program) { defer p.mesh.Close(); panic("planned") }},
}

func receiveAndExit(p *program) {
	sub, err := p.mesh.Subscribe(p.ctx, p.to, meshwire.Group("g"))
	giveUpOn(err)
	first, err := sub.Next(p.ctx)
	giveUpOn(err)
	giveUpOn(first.AckConfirmed(p.ctx))
	second, err := sub.Next(p.ctx)
	giveUpOn(err)
	giveUpOn(second.Ack())
	go sub.Next(p.ctx)
	os.Exit(7)
}

func exitInHandler(p *program) {
	giveUpOn(p.mesh.Consume(p.ctx, p.to, func(context.Context, *meshwire.Delivery) error {
		os.Exit(7)
		return nil
	}, meshwire.Group("g"), meshwire.Concurrency(8)))
}

// giveUpOn ends the program where something is wrong, with a code that no way to end has.
func giveUpOn(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// endAs is the program. How it ends is a way to end, or a file of the offline buffer.
func endAs(how string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var options []meshwire.ConnectOption
	ending, known := endings[how]
	if !known {
		options = append(options, meshwire.Offline(how), meshwire.OfflineSync("written"))
		ending.end = func(*program) { os.Exit(7) }
	}
	mesh, err := meshwire.Connect(ctx, os.Getenv("MESHWIRE_AT"), options...)
	giveUpOn(err)
	p := &program{ctx, mesh, os.Getenv("MESHWIRE_TO")}
	for n := range withReceipt {
		_, err := mesh.Publish(ctx, p.to, fmt.Sprint(n))
		giveUpOn(err)
	}
	for n := range without {
		_, err := mesh.PublishAsync(ctx, p.to, fmt.Sprint(withReceipt+n))
		giveUpOn(err)
	}
	ending.end(p)
}

// ended runs the program, which ends with a code.
func ended(t *testing.T, url, how, to string, code int) {
	t.Helper()
	soon, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	command := exec.CommandContext(soon, os.Args[0])
	command.Env = append(os.Environ(), "MESHWIRE_END="+how, "MESHWIRE_AT="+url, "MESHWIRE_TO="+to)
	said, err := command.CombinedOutput()
	if command.ProcessState.ExitCode() != code || soon.Err() != nil {
		t.Errorf("%v %v %s", err, soon.Err(), said)
	}
}

// count reads what is in a topic, which are the numbers from 0 on, each once, and says how many.
func count(t *testing.T, mesh *meshwire.Client, to string) int {
	t.Helper()
	ctx, n := patience(t), 0
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "so far"))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.StartEarliest()))
	for d, err := range sub.All(ctx) {
		fine(t, err)
		if d.Text() == "so far" {
			break
		}
		if d.Text() != strconv.Itoa(n) {
			t.Fatalf("%s in place of %d", d.Text(), n)
		}
		n++
		fine(t, d.Ack())
	}
	return n
}

func TestAProcessMayEndAtAnyMomentAndWhatHadItsReceiptIsKept(t *testing.T) {
	mesh := connect(t)
	for how, ending := range endings {
		t.Run(how, func(t *testing.T) {
			to := topic(t)
			ended(t, gateway.URL, how, to, ending.code)
			if kept := count(t, mesh, to); kept < withReceipt || ending.all && kept < withReceipt+without {
				t.Error(kept)
			}
		})
	}
}

func TestWhatAProcessHadInHandWhenItEndedComesAgainAndWhatWasConfirmedDoesNot(t *testing.T) {
	// It gives up soon on a process that may come back.
	hasty := meshwiretest.Start(t, "--memory", "--resume-window", "100ms")
	ctx, mesh := patience(t), must[*meshwire.Client](t)(meshwire.Connect(patience(t), hasty.URL))
	for how, confirmed := range map[string]uint64{"exits while it receives": 1, "exits in a handler": 0} {
		to := topic(t) + strings.ReplaceAll(how, " ", "-")
		ended(t, hasty.URL, how, to, 7)
		sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
		d := must[*meshwire.Delivery](t)(sub.Next(ctx))
		for ; d.Attempt == 1; d = must[*meshwire.Delivery](t)(sub.Next(ctx)) {
			fine(t, d.Ack())
		}
		// An ack that was not confirmed may have been lost, or not.
		if d.Position <= confirmed || d.Position > 2*confirmed+1 {
			t.Errorf("%s: %s", how, d)
		}
		fine(t, sub.Close())
	}
	fine(t, mesh.Close())
}

func TestWhatAProcessPublishedWithAnOfflineFileIsThereThoughItEndedWithoutClose(t *testing.T) {
	file, to := t.TempDir()+"/offline", topic(t)
	ended(t, gateway.URL, file, to, 7)
	next := connect(t, meshwire.Offline(file))
	fine(t, next.Flush(patience(t)))
	if kept := count(t, next, to); kept != withReceipt+without {
		t.Error(kept)
	}
	fine(t, next.Close())
}
