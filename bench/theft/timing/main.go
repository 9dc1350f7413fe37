// Command timing tells two kinds of questions apart by how answers come, through a gateway
// on loopback, without and with what routes have against it: a ladder of deadlines, and a
// pace for streams.
//
// The model servers take a time that depends on the kind of question: as one does that has
// an answer in its cache, or a sentence of longer words to say. A thief asks each kind
// equally often, learns to tell them apart from half of the answers, and is held to the
// other half. Guessing gets 0.5.
//
// Run it from the bench directory:
//
//	go run ./theft/timing [--asked 4000] [--fine 2000] [--streams 1600] [--stands 2000] [--rounds 1] [--only 512x4] [--write]
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/route"
)

func main() { result.Main("theft/timing", run) }

func run(ctx context.Context) (err error) {
	asked := flag.Int("asked", 4000, "questions for each row about whole answers; 0: none")
	stands := flag.Int("stands", 2000, "questions for each row about how callers stand; 0: none")
	fine := flag.Int("fine", 2000, "questions for each row about what is finer than a millisecond; 0: none")
	rounds := flag.Int("rounds", 1, "how often the rows about how callers stand are asked for, with other rows each time")
	only := flag.String("only", "", "the forms of answers asked for about how callers stand, as 512x4,64x10; empty: all")
	streams := flag.Int("streams", 1600, "questions for each row about streams; 0: none")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	conditions := result.Observe(".")
	h, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	stood, err := h.stands(ctx, *stands, max(*rounds, 1), *only)
	if err != nil {
		return err
	}
	whole, err := h.wholeAnswers(ctx, *asked)
	if err != nil {
		return err
	}
	below, err := h.belowRungs(ctx, *fine)
	if err != nil {
		return err
	}
	streamed, err := h.streams(ctx, *streams)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("## Timing: what tells two kinds of questions apart\n\nMade by `cd bench && go run ./theft/timing --asked %d --fine %d --streams %d --stands %d --rounds %d --write`.\n\n%s\n%s\n%s\n%s\n%s",
		*asked, *fine, *streams, *stands, *rounds, whole, below, streamed, stood, conditions)
	fmt.Println(text)
	if *write {
		return result.Write(result.File, "timing", text)
	}
	return nil
}

// A house is pavise up in this process, with model servers beside it.
type house struct {
	dir      string
	server   string
	token    string          // a caller's
	stood    map[string]bool // models that were put to ask how callers stand
	operator *api.Client
	models   *models
	stop     func()
	ran      chan error
	up       *role.Up
	health   string         // where it tells its numbers
	told     map[string]int // answers above the top, by model, as they were told last
}

func open(ctx context.Context) (h *house, err error) {
	h = &house{ran: make(chan error, 1), told: map[string]int{}, stood: map[string]bool{}}
	ctx, h.stop = context.WithCancel(ctx)
	if h.dir, err = os.MkdirTemp("", "timing"); err != nil {
		return nil, err
	}
	if h.models, err = serveModels(); err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h.health = free.Addr().String()
	free.Close()
	data := installation.Data(filepath.Join(h.dir, "up"))
	if h.up, err = role.NewUp(ctx, role.UpConfig{Data: data, Listen: "127.0.0.1:0", Health: h.health, Now: time.Now}); err != nil {
		return nil, err
	}
	go func() { h.ran <- h.up.Run(ctx) }()
	access, err := await(func() (installation.Access, error) { return data.ReadAccess("") })
	if err != nil {
		return nil, err
	}
	h.server, h.operator = access.Server, &api.Client{Base: access.Server, Token: access.Token}
	h.token, err = h.tokenOf(ctx, "thief")
	return h, err
}

func (h *house) close() error {
	h.stop()
	err := errors.Join(<-h.ran, h.up.Close())
	h.models.close()
	return errors.Join(err, os.RemoveAll(h.dir))
}

// await tries until it works, for half a minute.
func await[T any](try func() (T, error)) (v T, err error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if v, err = try(); err == nil {
			return v, nil
		}
	}
	return v, err
}

// put puts the route of one of the models, on some terms.
func (h *house) put(ctx context.Context, model, ladder, beat string) error {
	const plenty = "50000000/1m"
	spec := route.Spec{
		Name: role.Tenant + "/model/" + model, Upstream: h.models.url, Ladder: ladder, Pace: beat,
		Rate: plenty, Budget: plenty, ModelRate: plenty, ModelBudget: plenty,
	}
	if model == talker {
		spec.Protocol = "openai"
	} else {
		spec.Signature = signature
	}
	return h.operator.Call(ctx, "route.put", spec, nil)
}

// late is how many answers of a model left above the top of its ladder since it was asked
// last.
func (h *house) late(ctx context.Context, model string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+h.health+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	all, was := 0, h.told[model]
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), `pavise_answers_late_total{pavise_model="`+model+`"} `); ok {
			if all, err = strconv.Atoi(strings.Fields(rest)[0]); err != nil {
				return 0, err
			}
		}
	}
	h.told[model] = all
	return all - was, lines.Err()
}

// A setting is a route's words about when answers leave.
type setting struct{ ladder, beat string }

func (s setting) String() string {
	var words []string
	if s.ladder != "none" {
		words = append(words, "`--ladder \""+s.ladder+"\"`")
	}
	if s.beat != "" && s.beat != "none" {
		words = append(words, "`--pace "+s.beat+"`")
	}
	if words == nil {
		return "nothing"
	}
	return strings.Join(words, " ")
}

// wholeAnswers measures answers that come at once.
func (h *house) wholeAnswers(ctx context.Context, n int) (string, error) {
	if n == 0 {
		return "", nil
	}
	table := result.NewTable("the route has", "median, first kind", "median, second kind", "told apart, one answer", "told apart, ten answers each", "mean time, added", "above the top")
	base := 0.0
	for _, s := range []setting{{"none", ""}, {"5ms..2s", ""}, {"60ms..2s", ""}} {
		if err := h.put(ctx, scorer, s.ladder, ""); err != nil {
			return "", err
		}
		all, err := h.ask(ctx, n, 16, h.one(scorer))
		if err != nil {
			return "", err
		}
		if base == 0 {
			base = mean(all)
		}
		single, err := tell(all)
		if err != nil {
			return "", err
		}
		ten, err := tell(averaged(all, 10))
		if err != nil {
			return "", err
		}
		late, err := h.late(ctx, scorer)
		if err != nil {
			return "", err
		}
		table.Row(s.String(), millis(median(all, 0)), millis(median(all, 1)), single, ten, millis(mean(all)-base), fmt.Sprint(late))
	}
	return fmt.Sprintf("### Whole answers\n\nThe model takes 6 to 10 ms for the first kind, as one that has the answer in a cache, and 12 to 18 ms for the second. A thief sees the time from the request's first byte to the answer's last, 16 requests at once.\n\n%s\nA ladder that begins below what the model takes puts the kinds on different rungs: it hides what is finer than a rung, and nothing else. One that begins above it leaves nothing.\n", table), nil
}

// streams measures streamed answers of a language model.
func (h *house) streams(ctx context.Context, n int) (string, error) {
	if n == 0 {
		return "", nil
	}
	table := result.NewTable("the route has", "median time to the first byte", "and to the last", "median bytes", "told apart, one stream", "mean time, added", "bytes, times", "above the top")
	base, size := 0.0, 0.0
	for _, s := range []setting{{"none", "none"}, {"none", "50ms"}, {"150ms x8 to 9600ms", "none"}, {"150ms x8 to 9600ms", "50ms"}} {
		if err := h.put(ctx, talker, s.ladder, s.beat); err != nil {
			return "", err
		}
		all, err := h.ask(ctx, n, 48, h.stream)
		if err != nil {
			return "", err
		}
		if base == 0 {
			base, size = meanOf(all, total), meanOf(all, bytesRead)
		}
		apart, err := tell(all)
		if err != nil {
			return "", err
		}
		late, err := h.late(ctx, talker)
		if err != nil {
			return "", err
		}
		table.Row(s.String(), both(all, firstByte, millis), both(all, total, millis), both(all, bytesRead, func(v float64) string { return fmt.Sprintf("%.0f", v) }),
			apart, millis(meanOf(all, total)-base), fmt.Sprintf("%.1f", meanOf(all, bytesRead)/size), fmt.Sprint(late))
	}
	return fmt.Sprintf("### Streams of a language model\n\nBoth kinds of answers have 20 to 40 tokens. The first kind is of short words, one each 8 ms, and begins after 20 ms; the second of longer ones, one each 12 ms, and begins after 60 ms. A thief on the way, who cannot read, sees when how many bytes come: the time to the first and the last, how many reads, their sizes and the times between, each of the first sixteen. Two numbers in a cell are those of the two kinds.\n\n%s\nA pace alone leaves how long a stream takes; a ladder alone, what happens between its first byte and its last. Above the top of the ladder, and from rung to rung, length still shows.\n", table), nil
}

func millis(seconds float64) string { return fmt.Sprintf("%.1f ms", 1000*seconds) }
