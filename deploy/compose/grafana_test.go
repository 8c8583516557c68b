package compose

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
	"gopkg.in/yaml.v3"
)

const dashboards = "deploy/grafana/dashboards"

// model is the form that the stack's Grafana reads, and those before it; the SDK would
// have the next one, which older ones do not know.
type model = dashboard.Dashboard //nolint:staticcheck // see above

// decodeDashboard reads a dashboard into Grafana's own types. A field that they do not
// have is an error, in the options of a panel and in a question too.
func decodeDashboard(content string) (model, error) {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(table.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	var d model
	// It returns an empty list where there are no errors, and takes one for an error
	// itself: what it has decoded may be half of it.
	var mistakes cog.BuildErrors
	if err := new(model).UnmarshalJSONStrict([]byte(content)); err != nil && (!errors.As(err, &mistakes) || len(mistakes) > 0) {
		return d, err
	}
	if err := json.Unmarshal([]byte(content), &d); err != nil {
		return d, err
	}
	return d, d.Validate()
}

// onEachDashboard runs a test on each file that Grafana is given.
func onEachDashboard(t *testing.T, f func(t *testing.T, d model)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, dashboards, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("dashboards %q, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			d, err := decodeDashboard(read(t, filepath.Join(dashboards, filepath.Base(path))))
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Panels) == 0 {
				t.Fatal("it is empty")
			}
			f(t, d)
		})
	}
}

// questions are what a panel asks Prometheus.
func questions(t *testing.T, p *dashboard.Panel) []*prometheus.Dataquery {
	t.Helper()
	var list []*prometheus.Dataquery
	for _, q := range p.Targets {
		query, ok := q.(*prometheus.Dataquery)
		if !ok {
			t.Fatalf("%q has a question of the type %T", *p.Title, q)
		}
		list = append(list, query)
	}
	return list
}

// TestDecodeDashboardIsStrict holds that a mistake is found: without it all else may
// mean nothing.
func TestDecodeDashboardIsStrict(t *testing.T) {
	good := read(t, dashboards+"/klinghook.json")
	for name, change := range map[string][2]string{
		"a field of no dashboard":   {`"graphTooltip":`, `"tooltip":`},
		"a field of no panel":       {`"gridPos":`, `"grid":`},
		"an option of no stat":      {`"reduceOptions":`, `"reduce":`},
		"an option of no chart":     {`"fillOpacity":`, `"fill":`},
		"a field of no question":    {`"legendFormat":`, `"legend":`},
		"a question of another way": {`"expr":`, `"query":`},
		"a value of another type":   {`"schemaVersion": 39`, `"schemaVersion": "39"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: the dashboard has no %s", name, change[0])
		}
		if _, err := decodeDashboard(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// place is where something stands in the dashboard.
type place struct {
	title string
	id    uint32
	at    *dashboard.GridPos
}

// TestDashboardHasItsPlaces holds that nothing covers another, sticks out of the 24
// columns, or has another's id.
func TestDashboardHasItsPlaces(t *testing.T) {
	onEachDashboard(t, func(t *testing.T, d model) {
		var places []place
		for _, p := range d.Panels {
			switch {
			case p.Panel != nil && p.Panel.Id != nil && p.Panel.Title != nil:
				places = append(places, place{*p.Panel.Title, *p.Panel.Id, p.Panel.GridPos})
			case p.RowPanel != nil && p.RowPanel.Title != nil && len(p.RowPanel.Panels) == 0:
				places = append(places, place{*p.RowPanel.Title, p.RowPanel.Id, p.RowPanel.GridPos})
			default:
				t.Fatalf("neither a panel nor an open row with a title and an id: %+v", p)
			}
		}
		for i, a := range places {
			if a.at == nil || a.at.W == 0 || a.at.H == 0 || a.at.X+a.at.W > 24 {
				t.Fatalf("%q is at %+v", a.title, a.at)
			}
			for _, b := range places[:i] {
				if a.id == b.id {
					t.Errorf("%q and %q are both %d", a.title, b.title, a.id)
				}
				if a.at.X < b.at.X+b.at.W && b.at.X < a.at.X+a.at.W && a.at.Y < b.at.Y+b.at.H && b.at.Y < a.at.Y+a.at.H {
					t.Errorf("%q covers %q", a.title, b.title)
				}
			}
		}
	})
}

// TestDashboardFindsItsData holds that each panel asks the source that is chosen above
// it, of a kind that the stack provides, and shows the answer in a unit that there is.
func TestDashboardFindsItsData(t *testing.T) {
	known := []string{units.Short, units.Seconds, units.BytesIEC, units.BytesPerSecondSI, units.OpsPerSecond, units.RequestsPerSecond, units.PercentUnit}
	var provided struct {
		Datasources []struct{ Type, URL string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/grafana/provisioning/datasources/prometheus.yml")), &provided); err != nil {
		t.Fatal(err)
	}
	if len(provided.Datasources) != 1 || provided.Datasources[0].Type != "prometheus" {
		t.Fatalf("the stack provides %+v", provided)
	}
	if _, service := load(t, nil).Services["prometheus"]; !service || provided.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("the stack's Prometheus is not at %s", provided.Datasources[0].URL)
	}
	onEachDashboard(t, func(t *testing.T, d model) {
		chosen := map[string]bool{}
		for _, v := range d.Templating.List {
			if v.Type == dashboard.VariableTypeDatasource && v.Query != nil && v.Query.String != nil && *v.Query.String == "prometheus" {
				chosen["${"+v.Name+"}"] = true
			}
		}
		asks := func(title string, ref *common.DataSourceRef) {
			if ref == nil || ref.Uid == nil || !chosen[*ref.Uid] || ref.Type == nil || *ref.Type != "prometheus" {
				t.Errorf("%q asks %+v; what can be chosen is %v", title, ref, chosen)
			}
		}
		for _, p := range d.Panels {
			if p.Panel == nil {
				continue
			}
			title := *p.Panel.Title
			asks(title, p.Panel.Datasource)
			for _, query := range questions(t, p.Panel) {
				asks(title, query.Datasource)
			}
			if p.Panel.Type == "table" {
				continue // Versions have no unit.
			}
			if u := p.Panel.FieldConfig.Defaults.Unit; u == nil || !slices.Contains(known, *u) {
				t.Errorf("%q is in a unit that Grafana does not know, or none", title)
			}
		}
	})
}
