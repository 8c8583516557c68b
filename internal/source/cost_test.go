package source_test

import (
	"fmt"
	"testing"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
)

func TestCosts(t *testing.T) {
	for fields, want := range map[string]string{
		`"billing":[{"charge_type":"unit","cash_type":"","amount":"1.50","package_type":"video","list_price":"2"}]`:                     "[{1.5 unit unit}]",
		`"billing":[{"charge_type":"Cash","amount":0.1,"currency":"usd"},{"charge_type":"cash","amount":2e-1,"currency":"USD"}]`:        "[{0.3 USD cash}]",
		`"billing":[{"charge_type":"unit","amount":1},{"charge_type":"cash","amount":"2","currency":"CNY"}],"final_unit_deduction":"9"`: "[{1 unit unit} {2 CNY cash}]",
		`"billing":{"amount":"3","currency":"USD"}`:                                                  "[{3 USD cash}]",
		`"billing":[{"charge_type":"cash","amount":"3","currency":"US dollars"}]`:                    "[{3 cash cash}]",
		`"billing":[{"charge_type":"cash","amount":"much"},7,{"charge_type":"unit","amount":"NaN"}]`: "[]",
		`"final_unit_deduction":"3.0","final_balance_deduction":0.25`:                                "[{3 unit unit} {0.25 cash cash}]",
		`"billing":[],"final_unit_deduction":0`:                                                      "[{0 unit unit}]",
		`"billing":"free"`:                                                                           "[]",
	} {
		task, err := source.ReadTask([]byte(`{"id":"1","status":"failed",` + fields + `}`))
		testenv.NoError(t, err)
		var entries []struct{ amount, unit, kind string }
		for _, cost := range task.Costs {
			entries = append(entries, struct{ amount, unit, kind string }{cost.Amount, cost.Unit, cost.Kind})
		}
		if got := fmt.Sprint(entries); got != want {
			t.Errorf("costs of %s = %s, want %s", fields, got, want)
		}
	}
}
