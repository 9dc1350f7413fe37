package ingest

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cloudtrail"
	"github.com/pavise/pavise/internal/figure"
)

// CloudTrail holds the log files of an AWS account to their digests. Its fields are flags of
// the command line.
type CloudTrail struct {
	Say func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches

	Dir    string `arg:"" help:"The directory that the bucket was copied to, or a part of it, with AWSLogs/ACCOUNT/CloudTrail and CloudTrail-Digest."`
	Keys   string `help:"The public keys of the time: what aws cloudtrail list-public-keys prints, or PEM." placeholder:"FILE"`
	Bucket string `help:"The bucket that the files are of (default: the one that most digests name)." placeholder:"NAME"`
}

// Help is the text behind the command's flags.
func (*CloudTrail) Help() string {
	return `Says whether the log files of an AWS account are as CloudTrail wrote them: it follows
the chain of hourly digest files, checks their signatures, and names each log file that
is missing, altered or not listed, and each time that nothing vouches for.

Copy the bucket with "aws s3 sync s3://BUCKET DIR", and get the keys for the time with
"aws cloudtrail list-public-keys --start-time … --end-time … > keys.json". Each digest
has the signature of the one before. That of the newest is kept in the bucket alone: put
what "aws s3api head-object" says of it, or its x-amz-meta-signature, beside it as
DIGEST.sig. Without it, or without keys, the verdict is "unverified".

It exits with 0 when nothing is wrong, verified or not, with 1 when something is, and
with 2 when it could not look.

For example:

  pavise ingest cloudtrail trail --keys keys.json`
}

// A Trail is what was seen of an account's files.
type Trail struct {
	Dir string `json:"dir"`
	*cloudtrail.Report
	Recorded bool `json:"recorded"` // this command leaves no record
}

// maxKeyFile bounds the file of keys.
const maxKeyFile = 4 << 20

// Run looks at the files. Errors are of kind Invalid, NotFound or Denied for what was named,
// and Unavailable when it was stopped.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (t *CloudTrail) Run(ctx context.Context) (*Trail, error) {
	o := cloudtrail.Options{Bucket: t.Bucket}
	if t.Keys != "" {
		text, err := readFile(t.Keys, maxKeyFile)
		if err != nil {
			return nil, err
		}
		if o.Keys, err = cloudtrail.ParseKeys(text); err != nil {
			return nil, err
		}
	}
	if t.Say != nil {
		o.Say = func(files, of int) { t.Say(fmt.Sprintf("%d of %d files …", files, of)) }
	}
	info, err := os.Stat(t.Dir)
	switch {
	case os.IsNotExist(err):
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "no directory " + shownPath(t.Dir), Err: err}
	case err == nil && !info.IsDir():
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: shownPath(t.Dir) + " is no directory", Hint: "name the one that the bucket was copied to"}
	case err != nil:
		return nil, fmt.Errorf("look at the directory: %w", err)
	}
	report, err := cloudtrail.Verify(ctx, os.DirFS(t.Dir), o)
	if err != nil {
		return nil, err
	}
	return &Trail{Dir: t.Dir, Report: report}, nil
}

// readFile reads a small plain file.
func readFile(path string, most int64) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", shownName(path), err)
	}
	if int64(len(text)) > most {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has more than %d bytes", shownName(path), most), Hint: "name the file of the keys"}
	}
	return text, nil
}

// Print prints the report for people.
func (t *Trail) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", t.Verdict, t.Words)
	for _, c := range t.Chains {
		fmt.Fprintf(w, "\n%s in %s, by %s\n", figure.OneLine(c.Account, 40), figure.OneLine(c.Region, 40), figure.OneLine(c.Series, 120))
		fact(w, "from", "%s; %s", figure.Second(c.From), c.Begins)
		fact(w, "to", "%s; %s", figure.Second(c.To), c.Ends)
		fact(w, "digests", "%d, %d of them with a good signature", c.Digests, c.Verified)
		fact(w, "log files", "%d, %d of them as a verified digest has them", c.Logs, c.LogsProved)
	}
	fmt.Fprintln(w)
	for _, f := range t.Findings {
		fmt.Fprintf(w, "%s: %s\n    %s\n", f.Kind, figure.OneLine(f.File, 300), figure.OneLine(f.What, 400))
	}
	if more := t.FindingsAll - len(t.Findings); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	if t.PendingAll > 0 {
		fmt.Fprintf(w, "%d log files are newer or older than what the digests here vouch for\n", t.PendingAll)
	}
	fmt.Fprintf(w, "recorded: false\n")
}

// fact prints one line of a report.
func fact(w io.Writer, name, format string, args ...any) {
	fmt.Fprintf(w, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
}
