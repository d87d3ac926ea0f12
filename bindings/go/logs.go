package meshwire

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// logs of the library are those of the process. They are kept when the first client is given a logger, and go to all that have one.
var logs struct {
	sync.Mutex
	kept    bool
	loggers map[*slog.Logger]int
	stop    chan struct{}
	stopped chan struct{}
}

// logging is a client's share of it.
type logging struct{ logger *slog.Logger }

// lookEvery is how long a look for records waits, and so how long the end of the last client does at most.
const lookEvery = 100 * time.Millisecond

// log has a logger get what the library logs.
func log(logger *slog.Logger) (*logging, error) {
	logs.Lock()
	defer logs.Unlock()
	if !logs.kept {
		level := 0
		for level < len(levels)-1 && !logger.Enabled(context.Background(), levels[level]) {
			level++
		}
		if failure := native.KeepLogs(level); failure != nil {
			return nil, failed(failure)
		}
		logs.kept, logs.loggers = true, make(map[*slog.Logger]int)
	}
	logs.loggers[logger]++
	if logs.stop == nil {
		logs.stop, logs.stopped = make(chan struct{}), make(chan struct{})
		go forward(logs.stop, logs.stopped)
	}
	return &logging{logger}, nil
}

// leave ends it; with the last one ends the goroutine.
func (l *logging) leave() {
	logs.Lock()
	logs.loggers[l.logger]--
	last := logs.loggers[l.logger] == 0 && len(logs.loggers) == 1
	var stopped chan struct{}
	if last && logs.stop != nil {
		close(logs.stop)
		stopped, logs.stop = logs.stopped, nil
	}
	logs.Unlock()
	if stopped != nil {
		<-stopped
	}
	logs.Lock()
	if logs.loggers[l.logger] == 0 {
		delete(logs.loggers, l.logger)
	}
	logs.Unlock()
}

// levels of slog, from the library's trace on.
var levels = [...]slog.Level{slog.LevelDebug - 4, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

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
		logs.Lock()
		loggers := make([]*slog.Logger, 0, len(logs.loggers))
		for logger := range logs.loggers {
			loggers = append(loggers, logger)
		}
		logs.Unlock()
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
	said.AddAttrs(slog.String("target", record.Target))
	// A handler that fails has nobody to tell.
	_ = logger.Handler().Handle(ctx, said)
}
