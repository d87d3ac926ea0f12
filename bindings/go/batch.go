package meshwire

import (
	"context"
	"runtime"

	"github.com/meshwire/meshwire-go/internal/native"
)

// NextBatch waits for deliveries as Next does, and gives those that are here, at least one and at most so many. What the program has in hand keeps its
// lease as long as it settles or extends something within each ack wait: each has one of its own, of which at least seven eighths are left,
// from when the one before it in the batch is settled. A program that does nothing for an ack wait loses all but the first, without a failure.
// CLOSED says that the subscription is over.
func (s *Subscription) NextBatch(ctx context.Context, most int) ([]*Delivery, error) {
	defer runtime.KeepAlive(s)
	if most < 1 {
		return nil, invalid("receive", "at least one delivery is to be asked for", nil)
	}
	batch, err := s.batch(ctx, most)
	if err == nil && len(batch) == 0 {
		err = over()
	}
	for _, d := range batch {
		s.core.delivered(d)
	}
	return batch, err
}

// batch waits for deliveries, and hands out those that are here; none without an error: it is over.
func (s *stream) batch(ctx context.Context, most int) ([]*Delivery, error) {
	if mine, err := s.begin(ctx); !mine {
		return nil, err
	}
	defer s.turn.give()
	for {
		if err := receivable(ctx); err != nil {
			return nil, err
		}
		if batch := s.handBatch(most); len(batch) > 0 {
			return batch, nil
		}
		if open, err := s.await(ctx); !open || err != nil {
			return nil, err
		}
	}
}

// handBatch hands out those that are here. The turn is held.
func (s *stream) handBatch(most int) []*Delivery {
	batch := make([]*Delivery, 0, min(most, len(s.here)-s.next))
	for s.next < len(s.here) && len(batch) < most {
		for ; s.next < len(s.here) && len(batch) < most; s.next++ {
			batch = append(batch, &s.here[s.next])
		}
		if len(batch) < most {
			// An error waits for who asks next.
			if s.failed = s.more(min(most-len(batch), mostAtOnce)); s.ended() {
				s.failed = nil
			}
		}
	}
	return together(batch)
}

// together tells the library of deliveries that the program gets in a batch, and leaves out those that come again.
func together(batch []*Delivery) []*Delivery {
	handles := make([]native.Handle, len(batch))
	for at, d := range batch {
		handles[at] = d.held().Load()
	}
	claimed := batch[:0]
	for at, is := range native.ClaimBatch(handles) {
		if is {
			claimed = append(claimed, batch[at])
		} else {
			native.GiveBack([]native.Handle{batch[at].held().Swap(0)})
		}
	}
	return claimed
}
