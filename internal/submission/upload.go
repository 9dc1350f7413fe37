package submission

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/registry"
)

// A Server takes requests and verbs, as an api.Client sends them.
type Server interface {
	Ask(ctx context.Context, method, path string, body io.Reader) (*http.Response, error)
	Call(ctx context.Context, verb string, req, resp any) error
}

// Where MLflow's API is, and the directory of a run in which the files lie.
const (
	restPath      = "/api/2.0/mlflow/"
	artifactsPath = "/api/2.0/mlflow-artifacts/artifacts/runs/"
	filesDir      = "model"
)

// tagFiles is the tag of a run that holds files for a version, with the digest of them all: who
// sends them again finds it.
const tagFiles = "pavise.files"

// Hand adds the version to its model by ask, which is the request of the verb model.add without
// its source, and returns it. Where the files are to be sent, they come first, and it is returned
// once the server has looked at them. What an earlier call sent of exactly these files stays.
// Errors are of kind Conflict for what changed since it was hashed, and as the server answers.
//
// Unguarded: whoever runs it reads their own files, and the server asks who sends them.
func (s *Submission) Hand(ctx context.Context, to Server, files []registry.File, ask func(source string) any) (v registry.Version, err error) {
	source := s.Source
	if s.Upload {
		at, err := s.send(ctx, to, files)
		if err != nil {
			return v, err
		}
		source = cmp.Or(source, at)
	}
	if err = to.Call(ctx, "model.add", ask(source), &v); err != nil || !s.Upload {
		return v, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	for v.Intake == registry.Pending {
		if s.Say != nil {
			s.Say("the server looks at the files")
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return v, nil // it says itself that it is pending
		}
		var now registry.Shown
		if err := to.Call(ctx, "model.show", map[string]string{"model": v.Ref.String()}, &now); err != nil || len(now.Versions) != 1 {
			return v, nil // what became of it meanwhile says model show
		}
		v = *now.Versions[0]
	}
	return v, nil
}

// How long the server is waited for, and how often it is asked.
const (
	lookTime  = 2 * time.Minute
	lookEvery = 200 * time.Millisecond
)

// send sends the files, and returns where they are at the server.
func (s *Submission) send(ctx context.Context, to Server, files []registry.File) (source string, err error) {
	u := &upload{to: to, meter: progress.Meter{Say: s.Say}, top: s.Path}
	for _, f := range files {
		u.meter.Total += f.Size
	}
	if err := u.open(ctx, registry.DigestOf(files).String(), s.Name.ID); err != nil {
		return "", err
	}
	there := map[string]int64{}
	if err := u.list(ctx, filesDir, there); err != nil {
		return "", err
	}
	for _, f := range files {
		if size, is := there[u.at(f)]; is && size == f.Size {
			u.meter.Read(int(f.Size))
			continue
		}
		if err := u.send(ctx, f); err != nil {
			return "", err
		}
	}
	return "mlflow-artifacts:/runs/" + u.run + "/" + filesDir, nil
}

// An upload is files on their way to a server.
type upload struct {
	to    Server
	top   string // the directory, or the file, of the model
	run   string // which holds them there
	meter progress.Meter
}

// at is where a file lies below the run.
func (u *upload) at(f registry.File) string {
	if f.Path == "." {
		return path.Join(filesDir, filepath.Base(u.top))
	}
	return path.Join(filesDir, f.Path)
}

// open finds the run that an earlier call made for these files, or makes one.
func (u *upload) open(ctx context.Context, digest, model string) error {
	type info struct {
		Info struct {
			ID string `json:"run_id"`
		} `json:"info"`
	}
	var found struct {
		Runs []info `json:"runs"`
	}
	search := map[string]any{"experiment_ids": []string{"0"}, "filter": fmt.Sprintf("tags.`%s` = '%s'", tagFiles, digest), "max_results": 1}
	if err := u.call(ctx, "runs/search", search, &found); err != nil {
		return err
	}
	if len(found.Runs) > 0 {
		u.run = found.Runs[0].Info.ID
		return nil
	}
	var made struct {
		Run info `json:"run"`
	}
	create := map[string]any{"experiment_id": "0", "run_name": "files of " + model, "tags": []map[string]string{{"key": tagFiles, "value": digest}}}
	err := u.call(ctx, "runs/create", create, &made)
	u.run = made.Run.Info.ID
	return err
}

// list adds the files below a directory of the run, with their sizes.
func (u *upload) list(ctx context.Context, dir string, into map[string]int64) error {
	var found struct {
		Files []struct {
			Path string `json:"path"`
			Dir  bool   `json:"is_dir"`
			Size int64  `json:"file_size"`
		} `json:"files"`
	}
	query := url.Values{"run_id": {u.run}, "path": {dir}}
	if err := u.ask(ctx, http.MethodGet, restPath+"artifacts/list?"+query.Encode(), nil, &found); err != nil {
		return err
	}
	for _, f := range found.Files {
		if !f.Dir {
			into[f.Path] = f.Size
		} else if err := u.list(ctx, f.Path, into); err != nil {
			return err
		}
	}
	return nil
}

// send sends one file, and takes it back if it is not what was hashed.
func (u *upload) send(ctx context.Context, f registry.File) error {
	name := u.top
	if f.Path != "." {
		name = filepath.Join(u.top, filepath.FromSlash(f.Path))
	}
	file, err := os.Open(name)
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s cannot be read any more: %v", name, err), Err: err}
	}
	defer file.Close()
	sum := sha256.New()
	body := io.TeeReader(io.LimitReader(file, f.Size), io.MultiWriter(sum, counting{&u.meter}))
	at := artifactsPath + u.run + "/" + (&url.URL{Path: u.at(f)}).EscapedPath()
	if err := u.ask(ctx, http.MethodPut, at, body, nil); err != nil {
		return err
	}
	if registry.Digest(sum.Sum(nil)) == f.Digest {
		return nil
	}
	changed := &pavise.Error{Kind: pavise.Conflict, Msg: name + " changed since it was hashed", Hint: "wait until nobody writes there, and add the version again"}
	return errors.Join(changed, u.ask(ctx, http.MethodDelete, at, nil, nil))
}

// counting tells a meter what goes by.
type counting struct{ meter *progress.Meter }

// Write counts.
func (c counting) Write(p []byte) (int, error) {
	c.meter.Read(len(p))
	return len(p), nil
}

// call does one of MLflow's remote procedures.
func (u *upload) call(ctx context.Context, name string, req, resp any) error {
	text, err := json.Marshal(req)
	if err != nil {
		return err
	}
	return u.ask(ctx, http.MethodPost, restPath+name, strings.NewReader(string(text)), resp)
}

// maxAnswer bounds what the server answers, in bytes.
const maxAnswer = 16 << 20

// kinds are what MLflow's error codes mean here; what is not among them is Unavailable.
var kinds = map[string]pavise.Kind{
	"INVALID_PARAMETER_VALUE": pavise.Invalid, "PERMISSION_DENIED": pavise.Denied, "UNAUTHENTICATED": pavise.Unverified,
	"RESOURCE_DOES_NOT_EXIST": pavise.NotFound, "ENDPOINT_NOT_FOUND": pavise.NotFound, "RESOURCE_CONFLICT": pavise.Conflict,
	"REQUEST_LIMIT_EXCEEDED": pavise.Throttled, "RESOURCE_EXHAUSTED": pavise.Unavailable,
}

// ask sends one request, and reads the answer into resp, unless that is nil.
func (u *upload) ask(ctx context.Context, method, path string, body io.Reader, resp any) error {
	answer, err := u.to.Ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the server's answer broke off", Hint: "add the version again: what was sent is not sent again", Err: err}
	}
	if answer.StatusCode/100 == 2 {
		if resp == nil {
			return nil
		}
		return json.Unmarshal(text, resp)
	}
	var said struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &said) != nil || said.Message == "" {
		said.Message = fmt.Sprintf("the server answered with status %d, and keeps no files of models", answer.StatusCode)
	}
	kind, known := kinds[said.Code]
	if !known {
		kind = pavise.Unavailable
	}
	return &pavise.Error{Kind: kind, Msg: said.Message, Hint: "without --upload the server gets the digests alone"}
}
