package meshwire

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// logs of the library are those of the process. They are kept when the first client is given a logger, and go to all that have one, from the
// level on that any of them wants.
var logs struct {
	sync.Mutex
	kept    bool
	level   level
	loggers map[*slog.Logger]int
	// clients that have not left. Loggers stay a little longer: until what was there has been said.
	clients int
	stop    chan struct{}
	stopped chan struct{}
}

// logging is a client's share of it.
type logging struct{ logger *slog.Logger }

// lookEvery is how long a look for records waits, and so how long the end of the last client does at most.
const lookEvery = 100 * time.Millisecond

// log has a logger get what the library logs.
func log(logger *slog.Logger) (*logging, error) {
	if err := listen(logger); err != nil {
		return nil, err
	}
	logs.level.follow()
	return &logging{logger}, nil
}

func listen(logger *slog.Logger) error {
	logs.Lock()
	defer logs.Unlock()
	if !logs.kept {
		if failure := native.KeepLogs(coarsest); failure != nil {
			return failed(failure)
		}
		logs.kept, logs.loggers = true, make(map[*slog.Logger]int)
	}
	logs.loggers[logger]++
	logs.clients++
	if logs.stop == nil {
		logs.stop, logs.stopped = make(chan struct{}), make(chan struct{})
		go forward(logs.stop, logs.stopped)
	}
	return nil
}

// level is from which one on the library keeps what it logs: what nobody wants costs nothing.
type level struct {
	mu sync.Mutex
	// finer than the coarsest it is by so much.
	finer int
}

// follow has it be what the loggers want now: a level may change while a program runs.
func (l *level) follow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := coarsest
	for _, logger := range listening() {
		for wanted > 0 && logger.Enabled(context.Background(), levels[wanted-1]) {
			wanted--
		}
	}
	if coarsest-wanted != l.finer && native.LogLevel(wanted) == nil {
		l.finer = coarsest - wanted
	}
}

func listening() []*slog.Logger {
	logs.Lock()
	defer logs.Unlock()
	loggers := make([]*slog.Logger, 0, len(logs.loggers))
	for logger := range logs.loggers {
		loggers = append(loggers, logger)
	}
	return loggers
}

// leave ends it; with the last one ends the goroutine.
func (l *logging) leave() {
	logs.Lock()
	logs.clients--
	var stopped chan struct{}
	if logs.clients == 0 {
		close(logs.stop)
		stopped, logs.stop = logs.stopped, nil
	}
	logs.Unlock()
	if stopped != nil {
		<-stopped
	}
	logs.Lock()
	if logs.loggers[l.logger]--; logs.loggers[l.logger] == 0 {
		delete(logs.loggers, l.logger)
	}
	logs.Unlock()
	logs.level.follow()
}

// levels of slog, from the library's trace on.
var levels = [...]slog.Level{slog.LevelDebug - 4, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

const coarsest = len(levels) - 1

func forward(stop, stopped chan struct{}) {
	defer close(stopped)
	for {
		wait := lookEvery.Milliseconds()
		select {
		case <-stop:
			// What is there already is said.
			wait = 0
		default:
		}
		records, dropped, open := native.TakeLogs(wait)
		logs.level.follow()
		loggers := listening()
		for _, record := range records {
			for _, logger := range loggers {
				say(logger, record)
			}
		}
		if dropped > 0 {
			for _, logger := range loggers {
				logger.Warn("records of the library were not said: there were too many", "dropped", dropped)
			}
		}
		if wait == 0 || !open {
			return
		}
	}
}

func say(logger *slog.Logger, record native.Record) {
	level := levels[min(max(record.Level, 0), len(levels)-1)]
	ctx := context.Background()
	if !logger.Enabled(ctx, level) {
		return
	}
	said := slog.NewRecord(time.UnixMilli(record.TimeMs), level, record.Text, 0)
	for _, field := range record.Fields {
		said.AddAttrs(slog.String(field[0], field[1]))
	}
	said.AddAttrs(slog.String("target", record.Target))
	// A handler that fails has nobody to tell.
	_ = logger.Handler().Handle(ctx, said)
}
