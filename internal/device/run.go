package device

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/deploy/machine"
)

// Run fetches orders and does them, looks at the files that run, and reports, until ctx is
// done. Errors are of kind Invalid, and Unverified where what was ordered last cannot be
// told any more.
//
// Unguarded: the control plane asks who it is, and records what it says.
func (d *Device) Run(ctx context.Context) (err error) {
	d.store, err = bundle.OpenStore(bundle.StoreConfig{Dir: filepath.Join(d.cfg.Dir, "orders"), KEK: d.kek, Trust: d.cfg.Trust.Trust, Now: d.cfg.Now})
	if err != nil {
		return err
	}
	client, err := bundle.NewClient(bundle.ClientConfig{
		URL: d.address(), HTTP: d.cfg.HTTP, Store: d.store, Use: d.use, Now: d.cfg.Now,
		Report: func(err error) {
			if err != nil {
				d.cfg.Say("warning", err)
			}
		},
	})
	if err != nil {
		return err
	}
	if err := d.with(func(s *state) error { return d.finish(ctx, s) }); err != nil {
		return err
	}
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { d.tell(ctx) })
	return client.Run(ctx)
}

// address is where the machine's orders are.
func (d *Device) address() string {
	return strings.TrimSuffix(d.cfg.Server, "/") + strings.TrimSuffix(machine.Path, "/") + "/" + d.cfg.Trust.Target.ID
}

// use does what a bundle orders, once all of it is here. One that has ended is not obeyed:
// what runs goes on.
func (d *Device) use(ctx context.Context, b *bundle.Bundle) error {
	err := d.useNow(ctx, b)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.problem = ""; err != nil {
		d.problem = pavise.MsgOf(err)
	}
	return err
}

func (d *Device) useNow(ctx context.Context, b *bundle.Bundle) error {
	o, err := machine.ParseOrders(b.Sections[machine.Section], d.cfg.Trust.Target)
	if err != nil {
		return err
	}
	if err := d.store.Fresh(); err != nil {
		return err
	}
	err = d.obey(ctx, o, d.store.Blob)
	if pavise.KindOf(err) == pavise.NotFound { // a part is still to come: it is asked again then
		return nil
	}
	return err
}

// tell looks at the files that run, and reports, again and again.
func (d *Device) tell(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		err := d.Look(ctx)
		if text := fmt.Sprint(err); err != nil && text != said && ctx.Err() == nil {
			d.cfg.Say("warning", err)
		}
		said = fmt.Sprint(err)
		select {
		case <-time.After(d.cfg.Every):
		case <-ctx.Done():
		}
	}
}

// Look looks at every file that runs, puts back what was changed, out of what is kept, and
// reports what it saw before that.
//
// Unguarded: it is the machine's own; the control plane records what it reports.
func (d *Device) Look(ctx context.Context) error {
	var r machine.Report
	err := d.with(func(s *state) error {
		if s.Next != nil {
			return nil // it is being swapped in
		}
		r = machine.Report{Target: d.cfg.Trust.Target, Revision: s.Revision, Healthy: true, Problem: s.Held, Alone: s.Held != ""}
		if s.Before != nil {
			r.Before = s.Before.Digest
		}
		if s.Current == nil {
			return nil
		}
		r.Running = s.Current.Digest
		if why := d.differs(s.Current); why != "" {
			r.Running, r.Healthy, r.Alone, r.Problem = "changed:"+s.Current.Digest, false, false, "a file that runs was changed, and is put back: "+why
			return d.mend(s)
		}
		return nil
	})
	d.mu.Lock()
	if d.problem != "" && r.Healthy {
		r.Healthy, r.Problem = false, d.problem
	}
	d.mu.Unlock()
	if r.Target == (pavise.Name{}) {
		return err
	}
	r.Healthy = r.Healthy && !r.Alone && err == nil
	if d.store != nil {
		r.Serial = d.store.Seen()
	}
	return errors.Join(err, d.report(ctx, r))
}

// mend lays the version that runs out anew.
func (d *Device) mend(s *state) error {
	if err := d.layOut(s.Current); err != nil {
		return err
	}
	if err := point(d.cfg.Dir, s.Current.Dir); err != nil {
		return err
	}
	return errors.Join(s.write(d.cfg.Dir, d.key), d.tidy(s))
}

// report tells the control plane.
func (d *Device) report(ctx context.Context, r machine.Report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.address()+"/report", bytes.NewReader(text))
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no address of a control plane", d.cfg.Server), Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: http.DefaultTransport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if d.cfg.HTTP != nil {
		client.Transport = d.cfg.HTTP.Transport
	}
	answer, err := client.Do(req)
	if err != nil {
		return bundle.Unanswered(d.cfg.Server, "what runs goes on", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 500))
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the control plane at %s answers %d to a report: %s", d.cfg.Server, answer.StatusCode, strings.TrimSpace(string(said))), Hint: "is this the agent that the target names? pavise target show"}
	}
	return nil
}
