package console

import (
	"net/http"

	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/verbs"
)

// datasetStates are how datasets are shown: the state has the icon and the colour.
var datasetStates = map[catalog.State]struct{ state, word string }{
	catalog.StateSealed: {story.Allow, "Sealed"}, catalog.StateChanged: {story.Deny, "Changed"}, catalog.StateUnreachable: {story.Failed, "Unreachable"}, catalog.StateChecking: {"open", "Looked at"},
}

// A datasetItem is a dataset in the list.
type datasetItem struct {
	catalog.View
	State, Word string
	Trail       string      // the address of the records about it
	Told        datasetLink // where pipelines tell of it, if it is known how they call it
	Show        string      // the command that shows all of it
}

// A datasetsPage is the body of the page of the datasets that the server knows.
type datasetsPage struct {
	Items []datasetItem
	More  int // that are not shown
}

// datasets shows how the datasets stand that the server knows.
func (c *Console) datasets(w http.ResponseWriter, r *http.Request, s *visitor) {
	var list catalog.List
	if err := s.client.Call(r.Context(), "dataset.list", verbs.DatasetList{}, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	shown := list.Datasets[:min(len(list.Datasets), maxDatasets)]
	body := datasetsPage{More: list.More + len(list.Datasets) - len(shown)}
	for _, v := range shown {
		how := datasetStates[v.State]
		item := datasetItem{View: v, State: how.state, Word: how.word, Trail: placeOf(v.Name), Show: c.cfg.Command("dataset show " + v.Name.ID)}
		if v.Called.Name != "" {
			item.Told = newDatasetLink(v.Called)
		}
		body.Items = append(body.Items, item)
	}
	c.show(w, s, http.StatusOK, "datasets", page{Title: "Datasets", Here: "/lineage", Body: body})
}
