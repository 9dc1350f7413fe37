package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/evidence"
)

// ending proves what was told: the whole log, as an auditor does without the server, and
// each record that the play named, by the file that proves it alone.
func (p *play) ending(ctx context.Context) error {
	p.scene = "What the proof says"
	if err := p.at(ctx, 56); err != nil {
		return err
	}
	if err := p.meanwhile(); err != nil {
		return err
	}
	n := p.crowd.count()
	p.crowd.stop()
	if p.cfg.Rows.labels != nil && n.rows > 0 {
		p.tell(Act{Actor: "the file", Did: fmt.Sprintf("has a name for each of the %d connections that the clients asked about", n.rows), Decision: Told,
			Why: fmt.Sprintf("The model called %d of them what the file does, %.1f %%. That was counted here: the log holds that each was answered and commits to what was said, and tells nobody what it was.", n.right, 100*float64(n.right)/float64(n.rows))})
	}
	if err := p.at(ctx, 57.5); err != nil {
		return err
	}
	if err := p.provenRecords(ctx); err != nil {
		return err
	}
	if err := p.at(ctx, 59); err != nil {
		return err
	}
	return p.provenLog(ctx)
}

// provenRecords has the server write the proof file of each record that was named, and
// believes none of it until it is checked against the log's key.
func (p *play) provenRecords(ctx context.Context) error {
	operator, err := p.operator()
	if err != nil {
		return err
	}
	shown := slices.Compact(slices.Sorted(slices.Values(p.shown)))
	for _, index := range shown {
		var file evidence.ProofFile
		if err := operator.Call(ctx, "ledger.prove", evidence.ProveRequest{Index: index}, &file); err != nil {
			return err
		}
		report, err := audit.VerifyProof([]byte(file.File), audit.Options{Key: p.cfg.Key})
		if err == nil && (!report.Known || report.Index != index) {
			err = fmt.Errorf("it proves record %d of a log whose key is known: %v", report.Index, report.Known)
		}
		if err != nil {
			p.tell(Act{Actor: "auditor", Did: fmt.Sprintf("checks the proof of record %d", index), Decision: Denied, Why: "It does not hold: " + err.Error(), Odd: true})
			return nil
		}
	}
	p.tell(Act{
		Actor: "auditor", Did: fmt.Sprintf("checks each of the %d records named above, one proof file at a time", len(shown)), Decision: Allowed,
		Why: "Each is in the log under a checkpoint that the log's key signed. Whoever may see one decision, and nothing else, gets such a file.",
	})
	return nil
}

// provenLog verifies the log's directory as ledger verify does.
func (p *play) provenLog(ctx context.Context) error {
	report, err := p.verified(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a := Act{Actor: "auditor", Did: "verifies the whole log, offline", Decision: Allowed, Prove: p.cfg.Verify}
	if err != nil {
		a.Decision, a.Odd, a.Why = Denied, true, "It does not hold: "+err.Error()
		p.tell(a)
		return nil
	}
	a.Why = fmt.Sprintf("%s. %d records under the signed checkpoint. Change one byte of any, and it names the record.", capital(report.Conclusion), report.Signed)
	if last := slices.Max(p.shown); last >= report.Signed {
		a.Odd, a.Why = true, fmt.Sprintf("Record %d, which was named above, is not under the checkpoint yet.", last)
	}
	p.tell(a)
	return nil
}

// verified verifies the log, again while a checkpoint does not cover what was told.
func (p *play) verified(ctx context.Context) (report audit.Report, err error) {
	for until := time.Now().Add(settleWithin); ; {
		report, err = audit.Verify(p.cfg.Ledger, audit.Options{Key: p.cfg.Key, Stop: ctx.Done()})
		if err != nil || report.Signed > slices.Max(p.shown) || time.Now().After(until) {
			return report, err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return report, err
		}
	}
}

// capital makes a conclusion begin a sentence.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
