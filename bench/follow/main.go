// Command follow measures how far followers are behind while records come in at a
// steady rate: from the moment a producer begins to append a record until a follower
// has it. One follows in this process (feed.Live), one so that its effect and its cursor
// are one transaction of the store (feed.Follow), and one over HTTP, as another program
// would (GET /v1/ledger.follow): first each by itself, then all three at the same time.
//
// Run it from the bench directory:
//
//	go run ./follow [--rate 30000] [--seconds 20] [--dir DIR] [--write]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/bench/installation"
	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench/follow:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	rate := flag.Int("rate", 30000, "records a second")
	seconds := flag.Float64("seconds", 20, "for how long, after two seconds of warming up")
	dir := flag.String("dir", os.TempDir(), "a directory on the file system to measure")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	work, err := os.MkdirTemp(*dir, "bench-follow-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	conditions := result.Observe(work)
	var all []*measurement
	for i, names := range [][]string{{inProcess}, {withCursor}, {overHTTP}, {inProcess, withCursor, overHTTP}} {
		m := &measurement{names: names, rate: *rate, length: time.Duration(*seconds * float64(time.Second))}
		if err := m.measure(ctx, filepath.Join(work, strconv.Itoa(i))); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s: %.0f records a second\n", strings.Join(names, ", "), m.perSecond())
		all = append(all, m)
	}
	text := report(all) + "\nConditions:\n\n" + conditions.String()
	fmt.Print(text)
	if *write {
		return result.Write(result.File, "follow", text)
	}
	return nil
}

// The followers.
const (
	inProcess  = "in process"
	withCursor = "with a durable cursor"
	overHTTP   = "over HTTP"
)

// producers share the rate evenly.
const producers = 256

// A measurement is one run: some follow, while records come at a rate.
type measurement struct {
	names       []string // who follows
	rate        int
	length      time.Duration
	from, until time.Time // records that began within count

	mu       sync.Mutex // guards what follows
	appended int
	late     int // records that began much later than the rate asked for
	lags     map[string][]time.Duration
}

func (m *measurement) perSecond() float64 { return float64(m.appended) / m.length.Seconds() }

// measure runs it in a new directory.
func (m *measurement) measure(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	h, err := installation.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer h.Close()
	m.lags = map[string][]time.Duration{}
	m.from = time.Now().Add(2 * time.Second)
	m.until = m.from.Add(m.length)
	return m.run(ctx, h)
}

func (m *measurement) run(ctx context.Context, h *installation.Installation) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	var followers sync.WaitGroup
	all := followersOf(h)
	for _, name := range m.names {
		followers.Go(func() { all[name](following, func(r record.Record) { m.seen(name, r) }) })
	}
	group, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for p := range producers {
		group.Go(func() error { return m.produce(ctx, h.Log, begin, p) })
	}
	err := group.Wait()
	time.Sleep(time.Second) // the last ones are still under way
	stop()
	h.Server.CloseClientConnections()
	followers.Wait()
	return err
}

// followersOf are the three, by name. Each calls seen for every record.
func followersOf(h *installation.Installation) map[string]func(context.Context, func(record.Record)) {
	filter := ledger.Filter{Tenant: installation.Tenant, Kinds: []string{"model"}}
	return map[string]func(context.Context, func(record.Record)){
		inProcess: func(ctx context.Context, seen func(record.Record)) {
			for r, err := range h.Feeds.Live(ctx, filter, 0) {
				if err == nil {
					seen(r.Record)
				}
			}
		},
		withCursor: func(ctx context.Context, seen func(record.Record)) {
			h.Feeds.Follow(ctx, installation.Tenant, "effects", filter, func(_ context.Context, _ *store.Tx, r ledger.Found) error {
				seen(r.Record)
				return nil
			})
		},
		overHTTP: func(ctx context.Context, seen func(record.Record)) {
			what := evidence.Following{FollowConditions: evidence.FollowConditions{Kind: []string{"model"}}}
			for e, err := range evidence.Follow(ctx, h.Client, what) {
				if err == nil {
					seen(e.Record)
				}
			}
		},
	}
}

// produce appends one producer's share: its n-th record at its own moment, or at once
// when that is past.
func (m *measurement) produce(ctx context.Context, log *ledger.Log, begin time.Time, p int) error {
	each := time.Second * producers / time.Duration(m.rate)
	offset := each * time.Duration(p) / producers
	for n := 0; ; n++ {
		at := begin.Add(offset + time.Duration(n)*each)
		time.Sleep(time.Until(at))
		now := time.Now()
		if now.After(m.until) {
			return nil
		}
		if _, err := log.Append(ctx, newRecord(p, now), ledger.Durable); err != nil {
			return err
		}
		if !now.Before(m.from) {
			m.mu.Lock()
			m.appended++
			if now.Sub(at) > 50*time.Millisecond {
				m.late++
			}
			m.mu.Unlock()
		}
	}
}

var detail = json.RawMessage(`"` + strings.Repeat("0123456789abcdef", 48) + `"`)

// newRecord is that of an inference, of about a kilobyte.
func newRecord(p int, at time.Time) *record.Record {
	return &record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: installation.Tenant, At: at.UTC(),
		Who:     &pavise.Principal{Tenant: installation.Tenant, Kind: pavise.Workload, ID: fmt.Sprintf("caller-%03d", p)},
		On:      pavise.Name{Tenant: installation.Tenant, Kind: "model", ID: "threat-detector"},
		Outcome: pavise.Allow, Took: 150 * time.Microsecond, Detail: detail,
	}
}

// seen notes that a follower has a record.
func (m *measurement) seen(name string, r record.Record) {
	now := time.Now()
	if r.At.Before(m.from) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lags[name] = append(m.lags[name], now.Sub(r.At))
}

func report(all []*measurement) string {
	var b strings.Builder
	first := all[0]
	fmt.Fprintf(&b, "## Evidence log: how far followers are behind\n\nMade by `cd bench && go run ./follow --rate %d --seconds %g --write`.\n\n", first.rate, first.length.Seconds())
	t := result.NewTable("records/s", "follower", "records seen", "of", "lag p50 ms", "p99 ms", "longest ms", "began late")
	for _, m := range all {
		late := fmt.Sprintf("%.2f %%", 100*float64(m.late)/float64(max(m.appended, 1)))
		for _, name := range m.names {
			lags := m.lags[name]
			slices.Sort(lags)
			ms := func(q float64) string { return fmt.Sprintf("%.2f", result.Quantile(lags, q).Seconds()*1e3) }
			t.Row(fmt.Sprintf("%.0f", m.perSecond()), name, fmt.Sprint(len(lags)), fmt.Sprint(m.appended), ms(0.5), ms(0.99), ms(1), late)
		}
	}
	fmt.Fprintf(&b, "%s\nRecords of about a kilobyte, each durable and signed when its append returns, by %d producers in the same process. "+
		"Lag is from the begin of the append until the follower has the record. Each followed by itself, and then all three at once; "+
		"*late* began more than 50 ms after their moment, which means that the machine could not do more.\n", t, producers)
	return b.String()
}
