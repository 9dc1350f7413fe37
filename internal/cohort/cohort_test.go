package cohort_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/cohort"
	"github.com/pavise/pavise/internal/cohort/cohorttest"
)

// program prints n lines of a made-up program.
func program(rng *rand.Rand, n int) (lines []string) {
	for range n {
		switch k := rng.IntN(20); {
		case k < 9:
			lines = append(lines, fmt.Sprintf("GET /item/%d 200 in %d ms", rng.IntN(1000), rng.IntN(90)))
		case k < 15:
			lines = append(lines, fmt.Sprintf("cache hit for key %x", rng.Uint64()))
		case k < 19:
			lines = append(lines, fmt.Sprintf("connection from 10.0.%d.%d accepted", rng.IntN(255), rng.IntN(255)))
		default:
			lines = append(lines, "slow query on shard two, retrying once")
		}
	}
	return lines
}

func pods(seed uint64, n, lines int) (all [][]string) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for range n {
		all = append(all, program(rng, lines))
	}
	return all
}

// first takes the first word of a line for its kind.
func first(lines []string) cohorttest.Pod {
	p := cohorttest.Pod{Lines: lines}
	for _, line := range lines {
		p.Kinds = append(p.Kinds, strings.SplitN(line, " ", 2)[0])
	}
	return p
}

func TestFaultsAreFound(t *testing.T) {
	for _, f := range cohorttest.Required() {
		for seed := range uint64(10) {
			all := pods(seed, 10, 200)
			all[3] = f.Do(first(all[3]), rand.New(rand.NewPCG(seed, 2)))
			for i, j := range cohorttest.Judge(all) {
				if want := map[bool]string{true: cohort.Odd, false: cohort.Alike}[i == 3]; j.Verdict != want {
					t.Errorf("%s, seed %d, pod %d is %s: %+v", f.Name, seed, i, j.Verdict, j)
				}
				if i == 3 && j.Why == "" {
					t.Errorf("%s, seed %d: odd, and it is not said why", f.Name, seed)
				}
			}
		}
	}
}

// TestLinesTwice finds the pod whose lines are each printed twice, and leaves services alone
// whose pods all repeat themselves.
func TestLinesTwice(t *testing.T) {
	faults := cohorttest.Faults()
	twice := faults[len(faults)-1]
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		all := pods(seed, 10, 200)
		all[3] = twice.Do(first(all[3]), rng)
		for i, j := range cohorttest.Judge(all) {
			if (j.Verdict == cohort.Odd) != (i == 3) || i == 3 && !strings.Contains(j.Why, "% of its lines are the line before once more, and 0.") {
				t.Errorf("seed %d, pod %d: %+v", seed, i, j)
			}
		}
		for i := range all {
			if i != 3 {
				all[i] = twice.Do(first(all[i]), rng)
			}
		}
		for i, j := range cohorttest.Judge(all) {
			if j.Verdict != cohort.Alike {
				t.Errorf("seed %d, pod %d: %+v", seed, i, j)
			}
		}
	}
}

// TestWords holds what is said of a pod.
func TestWords(t *testing.T) {
	all := pods(1, 6, 400)
	all[2] = first(all[2]).Without(0)
	for i := range 150 {
		all[4] = append(all[4], fmt.Sprintf("DEBUG step %d of the cache", i))
	}
	judged := cohorttest.Judge(all)
	if j := judged[2]; j.Verdict != cohort.Odd || !strings.Contains(j.Why, `it never prints "GET /item/<*> <*> in <*> ms", which is `) || j.Lacks[0].Share != 0 {
		t.Errorf("%+v", j)
	}
	if j := judged[4]; j.Verdict != cohort.Odd || !strings.Contains(j.Why, `of its lines are "DEBUG step <*> of the cache", which no sibling prints`) || j.Has[0].Siblings != 0 {
		t.Errorf("%+v", j)
	}
}

func TestTooLittle(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		for _, j := range cohorttest.Judge(pods(1, n, 500)) {
			if j.Verdict != cohort.TooLittle || !strings.Contains(j.Why, "4 are the least") {
				t.Errorf("%d pods: %+v", n, j)
			}
		}
	}
	all := pods(1, 6, 200)
	all[0], all[1] = nil, all[1][:49]
	judged := cohorttest.Judge(all)
	if judged[0].Verdict != cohort.TooLittle || judged[1].Verdict != cohort.TooLittle || judged[1].Why != "it has 49 lines; 50 are the least" {
		t.Errorf("%+v", judged[:2])
	}
	for _, j := range judged[2:] {
		if j.Verdict != cohort.Alike {
			t.Errorf("beside pods of few lines: %+v", j)
		}
	}
	if got := cohorttest.Judge(nil); len(got) != 0 {
		t.Errorf("no pods: %+v", got)
	}
}

// TestVolume has one pod that lost three lines in ten of all kinds: its templates cannot show
// it, its volume does.
func TestVolume(t *testing.T) {
	all := pods(1, 10, 2000)
	all[6] = all[6][:1300]
	all[7] = append(all[7], pods(9, 1, 2000)[0]...)
	for i, j := range cohorttest.Judge(all) {
		if want := map[int]string{6: "quiet", 7: "loud"}[i]; j.Verdict != cohort.Alike || j.Volume != want {
			t.Errorf("pod %d: %s, %q", i, j.Verdict, j.Volume)
		}
	}
}

// TestPodsOfOtherSizes has healthy pods of very different volumes, and a loud odd one, whose
// flood must not make the others odd.
func TestPodsOfOtherSizes(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var all [][]string
		for range 10 {
			all = append(all, program(rng, 60+rng.IntN(3000)))
		}
		for range 20_000 {
			all[0] = append(all[0], "cannot reach the broker, trying again")
		}
		for i, j := range cohorttest.Judge(all) {
			if want := map[bool]string{true: cohort.Odd, false: cohort.Alike}[i == 0]; j.Verdict != want {
				t.Errorf("seed %d: pod %d of %d lines: %+v", seed, i, j.Lines, j)
			}
		}
	}
}

// corpora reads real log lines.
func corpora(t *testing.T) map[string][]string {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	all := map[string][]string{}
	for _, name := range []string{"BGL", "HDFS", "OpenSSH", "Spark", "Zookeeper"} {
		packed, err := os.ReadFile(filepath.Join(dir, "loghub", name+"_2k.log_structured.csv.gz"))
		if err != nil {
			t.Skipf("no log corpora: %v; PAVISE_DATA names the directory", err)
		}
		unpacked, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(unpacked).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		at := slices.Index(rows[0], "Content")
		for _, row := range rows[1:] {
			all[name] = append(all[name], row[at])
		}
	}
	return all
}

// TestRealLogs is a tenth of the experiment of bench/ingest: pods that print lines of real logs,
// and one of ten misconfigured.
func TestRealLogs(t *testing.T) {
	for name, lines := range corpora(t) {
		for _, f := range cohorttest.Required() {
			for seed := range uint64(2) {
				rng := rand.New(rand.NewPCG(seed, 4))
				all := make([][]string, 10)
				for i := range all {
					for range 400 {
						all[i] = append(all[i], lines[rng.IntN(len(lines))])
					}
				}
				odd := rng.IntN(10)
				all[odd] = f.Do(first(all[odd]), rng)
				for i, j := range cohorttest.Judge(all) {
					if (j.Verdict == cohort.Odd) != (i == odd) {
						t.Errorf("%s, %s, seed %d: pod %d is %s, z %.1f", name, f.Name, seed, i, j.Verdict, j.Z)
					}
				}
			}
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte("a\nb\nc"), 5)
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		n = max(1, min(n, 20))
		names := make([]string, n)
		c := cohort.New(names)
		lines := bytes.Split(text, []byte{'\n'})
		for _, line := range lines {
			c.Learn(line)
		}
		for i := range 60 * n {
			c.Count(i%n, lines[i*i%len(lines)])
		}
		for _, j := range c.Judge() {
			if j.Z != j.Z || j.Distance < 0 || j.Distance > 0.7 {
				t.Errorf("%+v", j)
			}
		}
	})
}
