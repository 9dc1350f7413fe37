package ingest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cohort"
	"github.com/pavise/pavise/internal/figure"
)

// Cohort compares the logs of like pods. Its fields are flags of the command line.
type Cohort struct {
	Say func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches

	Dir    string `arg:"" help:"The logs: a directory with a file or a directory for each pod, or with a directory of such for each service."`
	Layout string `help:"files: each file in the directory is a pod; directories: each directory in it is one; services: each directory in it is a service, with its pods; auto: told by what is there." default:"auto" enum:"auto,files,directories,services"`
}

// Help is the text behind the command's flags.
func (*Cohort) Help() string {
	return `Compares the logs of pods that run the same program, and says which one writes
another log than its siblings, and what is odd: lines that are cut, wrapped twice or
run together, a kind of line that is missing, a flood of one that others lack. It
takes 4 pods with 50 lines each, better 10 with 200, of the same time; of less it says
"too little".

How a directory is read, unless --layout says it: files in it are pods. Directories in
it are services, with a pod for each file or directory in them, where one has 4 pods;
else they are pods, with all files below them. Files may be in gzip; names that begin
with a dot are passed over. What is compared must be of one program: of
/var/log/pods, copy or link the pods of one service.

It exits with 0 when no pod is odd, with 1 when one is, and with 2 when it could not
look, or found too little in every pod. That a pod prints far less or far more than its siblings is said, and is no
verdict: it may be asked less.

For example:

  pavise ingest cohort ./pods`
}

// Compared is what came of comparing pods.
type Compared struct {
	Dir       string `json:"dir"`
	Pods      []Pod  `json:"pods"` // by service, in the order of names
	Odd       int    `json:"odd"`
	TooLittle int    `json:"too_little"` // pods of which nothing can be said
	Recorded  bool   `json:"recorded"`   // this command leaves no record
}

// A Pod is what is said of one pod.
type Pod struct {
	Service string `json:"service"` // empty: there is one alone
	cohort.Judgement
}

// Blind reports whether nothing can be said of any pod.
func (r *Compared) Blind() bool { return r.TooLittle == len(r.Pods) }

// Run reads the logs, twice. Errors are of kind Invalid, NotFound or Denied for the files, and
// Unavailable when it was stopped.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (k *Cohort) Run(ctx context.Context) (*Compared, error) {
	services, err := k.services()
	if err != nil {
		return nil, err
	}
	result := &Compared{Dir: k.Dir}
	for _, s := range services {
		judged, err := k.compare(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, j := range judged {
			result.Pods = append(result.Pods, Pod{s.name, j})
			switch j.Verdict {
			case cohort.Odd:
				result.Odd++
			case cohort.TooLittle:
				result.TooLittle++
			}
		}
	}
	return result, nil
}

// compare compares the pods of one service.
func (k *Cohort) compare(ctx context.Context, s podService) ([]cohort.Judgement, error) {
	names := make([]string, len(s.pods))
	for i, p := range s.pods {
		names[i] = p.name
	}
	c := cohort.New(names)
	for pass, take := range [...]func(pod int, line []byte){func(_ int, line []byte) { c.Learn(line) }, c.Count} {
		for i, p := range s.pods {
			for _, file := range p.files {
				err := eachLine(ctx, file, k.say(file, pass), func(_ int, line []byte) error { take(i, line); return nil })
				if err != nil {
					return nil, err
				}
			}
		}
	}
	return c.Judge(), nil
}

func (k *Cohort) say(file string, pass int) func(lines int) {
	return func(lines int) {
		if k.Say != nil {
			k.Say(fmt.Sprintf("%s: %d lines, pass %d of 2 …", shownName(file), lines, pass+1))
		}
	}
}

// A podService is where the logs of one service are.
type podService struct {
	name string
	pods []podFiles
}

// podFiles are the logs of one pod.
type podFiles struct {
	name  string
	files []string
}

// Bounds on what is compared.
const (
	maxFiles = 10_000
	maxDeep  = 8 // directories below that of a pod
)

// services finds the logs.
func (k *Cohort) services() ([]podService, error) {
	l, err := list(k.Dir)
	if err != nil {
		return nil, err
	}
	layout, told := k.Layout, true
	if layout == "auto" || layout == "" {
		told = false
		if layout, err = l.layout(); err != nil {
			return nil, err
		}
	}
	if layout != "services" {
		pods, err := l.pods(layout == "directories")
		return []podService{{pods: pods}}, err
	}
	var all []podService
	most := 0
	for _, dir := range l.dirs {
		inside, err := entries(dir)
		if err != nil {
			return nil, err
		}
		if len(inside.files)+len(inside.dirs) == 0 && !told {
			continue // a pod that wrote nothing
		}
		pods, err := inside.pods(len(inside.files) == 0)
		if err != nil {
			return nil, err
		}
		all, most = append(all, podService{filepath.Base(dir), pods}), max(most, len(pods))
	}
	if !told && most < cohort.MinPods { // rotated logs, or a directory for each container of a pod
		pods, err := l.pods(true)
		return []podService{{pods: pods}}, err
	}
	return all, nil
}

// A listing is what is in a directory, in the order of names.
type listing struct {
	dir         string
	files, dirs []string // paths
}

// list lists a directory with logs in it, and not too many.
func list(dir string) (listing, error) {
	l, err := entries(dir)
	if n := len(l.files) + len(l.dirs); err == nil && (n == 0 || n > maxFiles) {
		err = tooMany(dir, n)
	}
	return l, err
}

func tooMany(dir string, n int) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d logs", shownPath(dir), n), Hint: fmt.Sprintf("name a directory with 1 to %d", maxFiles)}
}

// entries lists a directory. It follows no links out of it: a link to a file is a file, and one to
// a directory is passed over.
func entries(dir string) (l listing, err error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		kind := pavise.Invalid
		if os.IsNotExist(err) {
			kind = pavise.NotFound
		}
		return l, &pavise.Error{Kind: kind, Msg: fmt.Sprintf("list the logs: %v", err), Hint: "name the directory with the logs of the pods", Err: err}
	}
	l.dir = dir
	for _, e := range found {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if e.IsDir() {
			l.dirs = append(l.dirs, path)
		} else if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			l.files = append(l.files, path)
		}
	}
	return l, nil
}

// below returns all files in a directory and those in it: none is a pod that wrote nothing.
func below(dir string, deep int) ([]string, error) {
	l, err := entries(dir)
	if err != nil {
		return nil, err
	}
	files := l.files
	for _, d := range l.dirs {
		if deep == 0 {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is too deep for a directory with logs", shownPath(d)), Hint: "name the directory with the logs of the pods"}
		}
		more, err := below(d, deep-1)
		if err != nil {
			return nil, err
		}
		if files = append(files, more...); len(files) > maxFiles {
			return nil, tooMany(dir, len(files))
		}
	}
	return files, nil
}

// layout tells how a directory is laid out.
func (l listing) layout() (string, error) {
	if len(l.files) > 0 && len(l.dirs) > 0 {
		return "", &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has files and directories side by side: which are the pods?", shownPath(l.dir)),
			Hint: "say --layout files, directories or services",
		}
	}
	if len(l.files) > 0 {
		return "files", nil
	}
	for _, d := range l.dirs {
		inside, err := entries(d)
		if err != nil {
			return "", err
		}
		if len(inside.files) != 1 || len(inside.dirs) > 0 {
			return "services", nil
		}
	}
	return "directories", nil
}

// pods are the files, or the directories with all files below them.
func (l listing) pods(directories bool) (pods []podFiles, err error) {
	if !directories {
		for _, file := range l.files {
			pods = append(pods, podFiles{filepath.Base(file), []string{file}})
		}
	} else {
		all := 0
		for _, dir := range l.dirs {
			files, err := below(dir, maxDeep)
			if err != nil {
				return nil, err
			}
			if all += len(files); all > maxFiles {
				return nil, tooMany(l.dir, all)
			}
			pods = append(pods, podFiles{filepath.Base(dir), files})
		}
	}
	if len(pods) == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has no pods as --layout has it", shownPath(l.dir)), Hint: "leave --layout out, or say another"}
	}
	return pods, nil
}

// Print prints the verdicts for people: the odd pods, and how many are like them.
func (r *Compared) Print(w io.Writer) {
	for pods := r.Pods; len(pods) > 0; {
		service, alike := pods[0].Service, 0
		if service != "" {
			fmt.Fprintf(w, "%s\n", figure.OneLine(service, 80))
		}
		for len(pods) > 0 && pods[0].Service == service {
			if j := pods[0].Judgement; j.Verdict == cohort.Alike && j.Volume == "" {
				alike++
			} else {
				printJudgement(w, j)
			}
			pods = pods[1:]
		}
		if alike > 0 {
			fmt.Fprintf(w, "  %-10s  %d pods\n", cohort.Alike, alike)
		}
	}
	fmt.Fprintf(w, "\n%d of %d pods are odd", r.Odd, len(r.Pods))
	if r.TooLittle > 0 {
		fmt.Fprintf(w, "; of %d there is too little to say", r.TooLittle)
	}
	fmt.Fprintf(w, "; recorded: false\n")
}

func printJudgement(w io.Writer, j cohort.Judgement) {
	fmt.Fprintf(w, "  %-10s  %s, %s lines", j.Verdict, figure.OneLine(j.Pod, 80), figure.Thousands(uint64(j.Lines)))
	if j.Verdict == cohort.Odd {
		fmt.Fprintf(w, ", %.1f deviations from its siblings", j.Z)
	}
	if j.Volume != "" {
		fmt.Fprintf(w, "; %s, beside them", j.Volume)
	}
	fmt.Fprintln(w)
	if j.Why != "" {
		fmt.Fprintf(w, "              %s\n", figure.OneLine(j.Why, 300))
	}
	for _, side := range []struct {
		name string
		all  []cohort.Contrast
	}{{"has", j.Has}, {"lacks", j.Lacks}} {
		for _, c := range side.all {
			fmt.Fprintf(w, "              %-5s %5.1f %% here, %5.1f %% there  %s\n", side.name, 100*c.Share, 100*c.Siblings, figure.OneLine(c.Template, 120))
		}
	}
}
