package meshwire_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

// dying is what a call has that is made while its gateway is killed.
type dying struct {
	testing.TB
	url  string
	mesh *meshwire.Client
	// to is a topic of its own.
	to string
}

func itself(w dying) dying { return w }

// sub is not forgotten before the test ends, or its deliveries would be too.
func (w dying) sub() *meshwire.Subscription {
	sub := must[*meshwire.Subscription](w)(w.mesh.Subscribe(patience(w), w.to, meshwire.Group("g")))
	w.Cleanup(func() { sub.Close() })
	return sub
}

func (w dying) delivery() *meshwire.Delivery {
	publish(w, w.mesh, w.to, 1)
	return must[*meshwire.Delivery](w)(w.sub().Next(patience(w)))
}

// sender is in the hands of a handler that ends with the test.
func (w dying) sender() *meshwire.ReplySender {
	senders, over := make(chan *meshwire.ReplySender, 8), make(chan struct{})
	w.Cleanup(func() { close(over) })
	go w.mesh.ServeStream(context.Background(), w.to, func(_ context.Context, r *meshwire.Request, replies *meshwire.ReplySender) error {
		if r.Text() == "x" {
			senders <- replies
			<-over
		}
		return nil
	}, meshwire.Concurrency(8))
	for err := error(meshwire.ErrNoResponders); errors.Is(err, meshwire.ErrNoResponders); {
		_, err = w.mesh.Request(patience(w), w.to, "ready?")
	}
	// It reads none of the replies.
	replies := must[*meshwire.Replies](w)(w.mesh.RequestMany(patience(w), w.to, "x", meshwire.ReplyCredit(1), long))
	w.Cleanup(func() { replies.Close() })
	return <-senders
}

// replies are of a request that is never answered.
func (w dying) replies() *meshwire.Replies {
	w.sender()
	return must[*meshwire.Replies](w)(w.mesh.RequestMany(patience(w), w.to, "x", long))
}

// served is its topic, of which a request is never answered.
func (w dying) served() dying {
	w.sender()
	return w
}

func (w dying) topics() *meshwire.Topics       { return w.mesh.Topics() }
func (w dying) groups() *meshwire.Groups       { return w.mesh.Groups(w.to) }
func (w dying) letters() *meshwire.DeadLetters { return w.mesh.DeadLetters(w.to) }
func (w dying) limits() *meshwire.Limits       { return w.mesh.Limits() }

var long = meshwire.RequestTimeout(time.Minute)

// drop gives the error alone.
func drop[T any](_ T, err error) error { return err }

// each gives the first error of an iteration.
func each[T any](all iter.Seq2[T, error]) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// again calls until there is an error.
func again(once func() error) error {
	for {
		if err := once(); err != nil {
			return err
		}
	}
}

// with is a call on what is made for it before the gateway is killed.
func with[T any](prepare func(dying) T, call func(T, context.Context) error) func(dying) func(context.Context) error {
	return func(w dying) func(context.Context) error {
		on := prepare(w)
		return func(ctx context.Context) error { return call(on, ctx) }
	}
}

type ctxt = context.Context

// end is how a call ends.
type end struct {
	// code is of its error; "": there is none.
	code meshwire.Code
	// stopped: it goes on until its context ends.
	stopped bool
}

var (
	well   = end{"", false}                       // it is done, or needs no answer
	lost   = end{meshwire.CodeUnavailable, false} // with the connection: nobody would know of it any more
	nobody = end{meshwire.CodeCancelled, false}   // whom it is for is gone
	waits  = end{meshwire.CodeCancelled, true}    // for a gateway
	goesOn = end{"", true}                        // as soon as there is a gateway
)

// during are all calls, and how each ends.
var during = map[string]struct {
	ends end
	call func(dying) func(ctxt) error
}{
	"Connect": {waits, with(itself, func(w dying, ctx ctxt) error {
		return drop(meshwire.Connect(ctx, w.url, meshwire.ConnectWait(time.Minute)))
	})},

	"Client.State":     {well, with(itself, func(w dying, _ ctxt) error { w.mesh.State(); return nil })},
	"Client.Stats":     {well, with(itself, func(w dying, _ ctxt) error { return drop(w.mesh.Stats()) })},
	"Client.Connected": {well, with(itself, func(w dying, ctx ctxt) error { return w.mesh.Connected(ctx) })},
	"Client.States": {goesOn, with(itself, func(w dying, ctx ctxt) error {
		for range w.mesh.States(ctx) {
		}
		return nil
	})},
	"Client.Publish":      {waits, with(itself, func(w dying, ctx ctxt) error { return drop(w.mesh.Publish(ctx, w.to, "x")) })},
	"Client.PublishBatch": {waits, with(itself, func(w dying, ctx ctxt) error { return w.mesh.PublishBatch(ctx, w.to, "x")[0].Err })},
	"Client.PublishAsync": {waits, with(itself, func(w dying, ctx ctxt) error {
		// Its window fills.
		return again(func() error { return drop(w.mesh.PublishAsync(ctx, w.to, "x")) })
	})},
	"Client.Flush": {waits, with(itself, func(w dying, ctx ctxt) error {
		return cmp.Or(drop(w.mesh.PublishAsync(ctx, w.to, "x")), w.mesh.Flush(ctx))
	})},
	"Client.Drain": {waits, with(itself, func(w dying, ctx ctxt) error {
		return cmp.Or(drop(w.mesh.PublishAsync(ctx, w.to, "x")), w.mesh.Drain(ctx))
	})},
	"Client.Close": {well, with(itself, func(w dying, _ ctxt) error { return w.mesh.Close() })},
	"Pending.Receipt": {waits, with(itself, func(w dying, ctx ctxt) error {
		pending, err := w.mesh.PublishAsync(ctx, w.to, "x")
		if err != nil {
			return err
		}
		return drop(pending.Receipt(ctx))
	})},

	"Client.Subscribe":       {waits, with(itself, func(w dying, ctx ctxt) error { return drop(w.mesh.Subscribe(ctx, w.to)) })},
	"Subscription.All":       {waits, with(dying.sub, func(s *meshwire.Subscription, ctx ctxt) error { return each(s.All(ctx)) })},
	"Subscription.Next":      {waits, with(dying.sub, func(s *meshwire.Subscription, ctx ctxt) error { return drop(s.Next(ctx)) })},
	"Subscription.NextBatch": {waits, with(dying.sub, func(s *meshwire.Subscription, ctx ctxt) error { return drop(s.NextBatch(ctx, 8)) })},
	"Subscription.Close":     {well, with(dying.sub, func(s *meshwire.Subscription, _ ctxt) error { return s.Close() })},

	"Delivery.Ack":           {well, with(dying.delivery, func(d *meshwire.Delivery, _ ctxt) error { return d.Ack() })},
	"Delivery.Nack":          {well, with(dying.delivery, func(d *meshwire.Delivery, _ ctxt) error { return d.Nack() })},
	"Delivery.NackAfter":     {well, with(dying.delivery, func(d *meshwire.Delivery, _ ctxt) error { return d.NackAfter(time.Second) })},
	"Delivery.Reject":        {well, with(dying.delivery, func(d *meshwire.Delivery, _ ctxt) error { return d.Reject("planned") })},
	"Delivery.Extend":        {well, with(dying.delivery, func(d *meshwire.Delivery, _ ctxt) error { return d.Extend() })},
	"Delivery.Forget":        {well, with(dying.delivery, func(d *meshwire.Delivery, _ ctxt) error { return d.Forget() })},
	"Delivery.AckConfirmed":  {waits, with(dying.delivery, (*meshwire.Delivery).AckConfirmed)},
	"Delivery.NackConfirmed": {waits, with(dying.delivery, (*meshwire.Delivery).NackConfirmed)},
	"Delivery.NackAfterConfirmed": {waits, with(dying.delivery, func(d *meshwire.Delivery, ctx ctxt) error {
		return d.NackAfterConfirmed(ctx, time.Second)
	})},
	"Delivery.RejectConfirmed": {waits, with(dying.delivery, func(d *meshwire.Delivery, ctx ctxt) error { return d.RejectConfirmed(ctx, "planned") })},
	"Delivery.ExtendConfirmed": {waits, with(dying.delivery, (*meshwire.Delivery).ExtendConfirmed)},

	"Client.Consume": {goesOn, with(itself, func(w dying, ctx ctxt) error {
		return w.mesh.Consume(ctx, w.to, func(ctxt, *meshwire.Delivery) error { return nil }, meshwire.Group("g"))
	})},
	"Client.Serve": {goesOn, with(itself, func(w dying, ctx ctxt) error {
		return w.mesh.Serve(ctx, w.to, func(ctxt, *meshwire.Request) (any, error) { return nil, nil })
	})},
	"Client.ServeStream": {goesOn, with(itself, func(w dying, ctx ctxt) error {
		return w.mesh.ServeStream(ctx, w.to, func(ctxt, *meshwire.Request, *meshwire.ReplySender) error { return nil })
	})},
	"ReplySender.Send":     {nobody, with(dying.sender, func(s *meshwire.ReplySender, ctx ctxt) error { return again(func() error { return s.Send(ctx, "x") }) })},
	"Client.Request":       {lost, with(dying.served, func(w dying, ctx ctxt) error { return drop(w.mesh.Request(ctx, w.to, "x", long)) })},
	"Client.RequestMany":   {well, with(dying.served, func(w dying, ctx ctxt) error { return drop(w.mesh.RequestMany(ctx, w.to, "x", long)) })},
	"Client.RequestStream": {lost, with(dying.served, func(w dying, ctx ctxt) error { return each(w.mesh.RequestStream(ctx, w.to, "x", long)) })},
	"Replies.Next":         {lost, with(dying.replies, func(r *meshwire.Replies, ctx ctxt) error { return drop(r.Next(ctx)) })},
	"Replies.Close":        {well, with(dying.replies, func(r *meshwire.Replies, _ ctxt) error { return r.Close() })},

	"Topics.List":   {waits, with(dying.topics, func(t *meshwire.Topics, ctx ctxt) error { return each(t.List(ctx)) })},
	"Topics.Get":    {waits, with(dying.topics, func(t *meshwire.Topics, ctx ctxt) error { return drop(t.Get(ctx, "t")) })},
	"Topics.Create": {waits, with(dying.topics, func(t *meshwire.Topics, ctx ctxt) error { return drop(t.Create(ctx, "t", meshwire.TopicSettings{})) })},
	"Topics.Update": {waits, with(dying.topics, func(t *meshwire.Topics, ctx ctxt) error { return drop(t.Update(ctx, "t", meshwire.TopicSettings{})) })},
	"Topics.Delete": {waits, with(dying.topics, func(t *meshwire.Topics, ctx ctxt) error { return drop(t.Delete(ctx, "t", true)) })},

	"Groups.List": {waits, with(dying.groups, func(g *meshwire.Groups, ctx ctxt) error { return each(g.List(ctx)) })},
	"Groups.Get":  {waits, with(dying.groups, func(g *meshwire.Groups, ctx ctxt) error { return drop(g.Get(ctx, "g")) })},
	"Groups.Create": {waits, with(dying.groups, func(g *meshwire.Groups, ctx ctxt) error {
		return drop(g.Create(ctx, "g", "", meshwire.GroupSettings{}))
	})},
	"Groups.CreateBroadcast": {waits, with(dying.groups, func(g *meshwire.Groups, ctx ctxt) error {
		return drop(g.CreateBroadcast(ctx, "g", "", meshwire.GroupSettings{}))
	})},
	"Groups.Update":       {waits, with(dying.groups, func(g *meshwire.Groups, ctx ctxt) error { return drop(g.Update(ctx, "g", meshwire.GroupSettings{})) })},
	"Groups.Seek":         {waits, with(dying.groups, func(g *meshwire.Groups, ctx ctxt) error { return drop(g.Seek(ctx, "g", meshwire.Earliest)) })},
	"Groups.Delete":       {waits, with(dying.groups, func(g *meshwire.Groups, ctx ctxt) error { return drop(g.Delete(ctx, "g")) })},
	"Groups.DeleteMember": {waits, with(dying.groups, func(g *meshwire.Groups, ctx ctxt) error { return g.DeleteMember(ctx, "g", "m") })},

	"DeadLetters.List":       {waits, with(dying.letters, func(l *meshwire.DeadLetters, ctx ctxt) error { return each(l.List(ctx)) })},
	"DeadLetters.Get":        {waits, with(dying.letters, func(l *meshwire.DeadLetters, ctx ctxt) error { return drop(l.Get(ctx, 1)) })},
	"DeadLetters.Redrive":    {waits, with(dying.letters, func(l *meshwire.DeadLetters, ctx ctxt) error { return drop(l.Redrive(ctx, 1)) })},
	"DeadLetters.RedriveAll": {waits, with(dying.letters, func(l *meshwire.DeadLetters, ctx ctxt) error { return drop(l.RedriveAll(ctx)) })},
	"DeadLetters.Purge":      {waits, with(dying.letters, func(l *meshwire.DeadLetters, ctx ctxt) error { return drop(l.Purge(ctx, 1)) })},
	"DeadLetters.PurgeAll":   {waits, with(dying.letters, func(l *meshwire.DeadLetters, ctx ctxt) error { return drop(l.PurgeAll(ctx)) })},
	"Limits.Get":             {waits, with(dying.limits, func(l *meshwire.Limits, ctx ctxt) error { return drop(l.Get(ctx)) })},
	"Limits.Set":             {waits, with(dying.limits, func(l *meshwire.Limits, ctx ctxt) error { return drop(l.Set(ctx, meshwire.GatewayLimits{})) })},
}

// mortal starts a gateway that can be stopped where it stands, and killed.
func mortal(t *testing.T) (*os.Process, string) {
	t.Helper()
	command := exec.Command(cmp.Or(os.Getenv("MESHWIRE_BIN"), "meshwire"), "serve", "--memory", "--listen", "127.0.0.1:0")
	said, err := command.StdoutPipe()
	fine(t, err)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	fine(t, command.Start())
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	line := must[string](t)(bufio.NewReader(said).ReadString('\n'))
	return command.Process, "mesh://" + strings.TrimSpace(strings.TrimPrefix(line, "listening "))
}

// freeze stops the gateway where it stands. The signal reaches its threads one by one.
func freeze(t *testing.T, process *os.Process) {
	t.Helper()
	fine(t, process.Signal(syscall.SIGSTOP))
	threads := must[[]string](t)(filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", process.Pid)))
	for _, thread := range threads {
		for stands := false; !stands; runtime.Gosched() {
			stat := string(must[[]byte](t)(os.ReadFile(thread)))
			stands = stat[strings.LastIndexByte(stat, ')')+2] == 'T'
		}
	}
}

//go:noinline
func duringItsCall(call func(ctxt) error, ctx ctxt) error { return call(ctx) }

// waiting are the goroutines that wait in a call.
func waiting() (n int) {
	stacks := make([]byte, 4<<20)
	for _, one := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		head, _, _ := strings.Cut(one, "\n")
		if strings.Contains(one, "duringItsCall(") && !strings.Contains(head, "[runn") {
			n++
		}
	}
	return n
}

// outcome is what a call came to.
type outcome struct {
	name string
	err  error
}

// judge takes the outcomes of those that end by themselves, or of the others.
func judge(t *testing.T, ended chan outcome, left map[string]bool, stopped bool) {
	t.Helper()
	late := time.After(15 * time.Second)
	for len(left) > 0 {
		select {
		case o := <-ended:
			delete(left, o.name)
			wanted := during[o.name].ends
			var e *meshwire.Error
			isWell := o.err == nil && wanted.code == "" || errors.As(o.err, &e) && e.Code == wanted.code
			if !isWell || wanted.stopped != stopped || stopped && o.err != nil && !errors.Is(o.err, context.Canceled) {
				t.Errorf("%s: %v", o.name, o.err)
			}
		case <-late:
			t.Fatalf("%v do not end", left)
		}
	}
}

func TestEveryCallEndsWhoseGatewayIsKilledInTheMiddle(t *testing.T) {
	process, url := mortal(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan outcome, len(during))
	var calls []func()
	byThemselves, others := map[string]bool{}, map[string]bool{}
	for name, row := range during {
		mesh := must[*meshwire.Client](t)(meshwire.Connect(patience(t), url, meshwire.PublishWindow(8, 64<<20)))
		t.Cleanup(func() { mesh.Drain(instantly(t)) })
		call := row.call(dying{t, url, mesh, strings.ToLower(name)})
		calls = append(calls, func() { ended <- outcome{name, duringItsCall(call, ctx)} })
		if row.ends.stopped {
			others[name] = true
		} else {
			byThemselves[name] = true
		}
	}
	// It answers nothing any more, so that it is killed in the middle of all that wait.
	freeze(t, process)
	for _, call := range calls {
		go call()
	}
	for begun := time.Now(); waiting()+len(ended) < len(calls); runtime.Gosched() {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("some have not begun")
		}
	}
	fine(t, process.Kill())
	judge(t, ended, byThemselves, false)
	stop()
	judge(t, ended, others, true)
}

func TestEveryCallIsOneOfThoseWhoseGatewayIsKilled(t *testing.T) {
	takes, gives := reflect.TypeFor[context.Context](), reflect.TypeFor[error]()
	for _, kind := range []reflect.Type{
		reflect.TypeFor[*meshwire.Client](), reflect.TypeFor[*meshwire.Pending](), reflect.TypeFor[*meshwire.Subscription](),
		reflect.TypeFor[*meshwire.Delivery](), reflect.TypeFor[*meshwire.ReplySender](), reflect.TypeFor[*meshwire.Replies](),
		reflect.TypeFor[*meshwire.Topics](), reflect.TypeFor[*meshwire.Groups](), reflect.TypeFor[*meshwire.DeadLetters](),
		reflect.TypeFor[*meshwire.Limits](),
	} {
		for method := range kind.NumMethod() {
			method := kind.Method(method)
			_, isOfAll := reflect.TypeFor[*meshwire.Message]().MethodByName(method.Name)
			results := method.Type.NumOut()
			mayFail := results > 0 && method.Type.Out(results-1) == gives
			mayWait := method.Type.NumIn() > 1 && method.Type.In(1) == takes
			name := kind.Elem().Name() + "." + method.Name
			if _, is := during[name]; !is && !isOfAll && (mayFail || mayWait) {
				t.Errorf("%s is missing", name)
			}
		}
	}
}
