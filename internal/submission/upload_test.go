package submission

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/registry"
)

// A shelf is a server that keeps files of one run, and answers as MLflow's API does.
type shelf struct {
	files  map[string]string
	run    string // the digest that the run is of; empty: there is none
	sent   []string
	refuse map[string]string // the error code of a request, by its path's end
	looks  int               // until the version is ready
	source string
}

// Ask implements Server.
func (s *shelf) Ask(_ context.Context, method, path string, body io.Reader) (*http.Response, error) {
	w := httptest.NewRecorder()
	var text []byte
	if body != nil {
		var err error
		if text, err = io.ReadAll(body); err != nil {
			return nil, err
		}
	}
	s.answer(w, httptest.NewRequest(method, path, nil), string(text))
	return w.Result(), nil
}

func (s *shelf) answer(w *httptest.ResponseRecorder, r *http.Request, body string) {
	for end, code := range s.refuse {
		if strings.HasSuffix(r.URL.Path, end) {
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"error_code":%q,"message":"it is refused"}`, code)
			return
		}
	}
	file, isFile := strings.CutPrefix(r.URL.Path, artifactsPath+"r1/")
	switch {
	case isFile && r.Method == http.MethodPut:
		s.files[file] = body
		s.sent = append(s.sent, file)
	case isFile && r.Method == http.MethodDelete:
		delete(s.files, file)
	case strings.HasSuffix(r.URL.Path, "runs/search") && s.run != "" && strings.Contains(body, s.run):
		fmt.Fprint(w, `{"runs":[{"info":{"run_id":"r1"}}]}`)
		return
	case strings.HasSuffix(r.URL.Path, "runs/create"):
		var ask struct{ Tags []struct{ Value string } }
		_ = json.Unmarshal([]byte(body), &ask)
		s.run = ask.Tags[0].Value
		fmt.Fprint(w, `{"run":{"info":{"run_id":"r1"}}}`)
		return
	case strings.HasSuffix(r.URL.Path, "artifacts/list"):
		s.list(w, r.URL.Query().Get("path"))
		return
	}
	fmt.Fprint(w, `{}`)
}

// list answers what is directly below a directory.
func (s *shelf) list(w io.Writer, dir string) {
	type info struct {
		Path string `json:"path"`
		Dir  bool   `json:"is_dir"`
		Size int    `json:"file_size"`
	}
	var files []info
	seen := map[string]bool{}
	for name, content := range s.files {
		rest, below := strings.CutPrefix(name, dir+"/")
		first, _, deeper := strings.Cut(rest, "/")
		if !below || seen[first] {
			continue
		}
		seen[first] = true
		one := info{Path: dir + "/" + first, Dir: deeper}
		if !deeper {
			one.Size = len(content)
		}
		files = append(files, one)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"files": files})
}

// Call implements Server.
func (s *shelf) Call(_ context.Context, verb string, req, resp any) error {
	v := &registry.Version{Ref: registry.Ref{Model: "fraud", Version: 1}, Tenant: "local", Intake: registry.Pending}
	if verb == "model.add" {
		s.source = req.(string)
		*resp.(*registry.Version) = *v
		return nil
	}
	if s.looks--; s.looks <= 0 {
		v.Intake = registry.Ready
	}
	resp.(*registry.Shown).Versions = []*registry.Version{v}
	return nil
}

// written writes a directory with files, and returns a submission of it.
func written(t *testing.T, files map[string]string) (*Submission, []registry.File) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &Submission{Name: pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}, Path: dir, Upload: true}
	spec, _, err := s.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, spec.Files
}

// asked is a request that is no more than its source.
func asked(source string) any { return source }

// TestUpload sends a version's files, waits until they were looked at, and sends what is missing
// alone where an earlier upload broke off.
func TestUpload(t *testing.T) {
	files := map[string]string{"model.onnx": "weights", "a b/c%41.json": "{}", "empty": "", "deep/er/x": "1"}
	s, hashed := written(t, files)
	server := &shelf{files: map[string]string{}, looks: 2}
	v, err := s.Hand(t.Context(), server, hashed, asked)
	if err != nil || v.Intake != registry.Ready || server.source != "mlflow-artifacts:/runs/r1/model" {
		t.Fatalf("%+v %v, of %s", v, err, server.source)
	}
	want := map[string]string{}
	for name, content := range files {
		want["model/"+name] = content
	}
	if !maps.Equal(server.files, want) {
		t.Errorf("the server has %v", server.files)
	}
	delete(server.files, "model/deep/er/x")
	server.files["model/model.onnx"] = "wei" // another size is another file
	server.sent = nil
	if _, err := s.Hand(t.Context(), server, hashed, asked); err != nil {
		t.Fatal(err)
	}
	slices.Sort(server.sent)
	if !maps.Equal(server.files, want) || !slices.Equal(server.sent, []string{"model/deep/er/x", "model/model.onnx"}) {
		t.Errorf("sent again: %v, and the server has %v", server.sent, server.files)
	}
	s.Upload, server.sent, server.source = false, nil, "?"
	if v, err := s.Hand(t.Context(), server, hashed, asked); err != nil || v.Intake != registry.Pending || len(server.sent) > 0 || server.source != "" {
		t.Errorf("without --upload: %+v %v, %v", v, err, server.sent)
	}
}

// TestUploadOfOneFile sends a model that is a file.
func TestUploadOfOneFile(t *testing.T) {
	s, _ := written(t, map[string]string{"model.onnx": "weights"})
	s.Path = filepath.Join(s.Path, "model.onnx")
	spec, _, err := s.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := &shelf{files: map[string]string{}}
	if _, err := s.Hand(t.Context(), server, spec.Files, asked); err != nil || server.files["model/model.onnx"] != "weights" {
		t.Errorf("%v %v", server.files, err)
	}
}

// TestUploadThatChanged has a file change after it was hashed: it is taken back, and no version
// is added.
func TestUploadThatChanged(t *testing.T) {
	s, hashed := written(t, map[string]string{"model.onnx": "weights"})
	if err := os.WriteFile(filepath.Join(s.Path, "model.onnx"), []byte("WEIGHTS"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := &shelf{files: map[string]string{}, source: "none"}
	if _, err := s.Hand(t.Context(), server, hashed, asked); pavise.KindOf(err) != pavise.Conflict || len(server.files) > 0 || server.source != "none" {
		t.Errorf("%v, and the server has %v", err, server.files)
	}
	for code, kind := range map[string]pavise.Kind{"PERMISSION_DENIED": pavise.Denied, "RESOURCE_EXHAUSTED": pavise.Unavailable, "?": pavise.Unavailable} {
		server.refuse = map[string]string{"runs/create": code}
		server.run = ""
		if _, err := s.Hand(t.Context(), server, hashed, asked); pavise.KindOf(err) != kind || !strings.Contains(err.Error(), "it is refused") {
			t.Errorf("%s: %v", code, err)
		}
	}
}
