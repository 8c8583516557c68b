package source

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/klinghook/klinghook/tasks"
)

// The kinds of costs, in Kling's words, and the unit of those without a currency.
const (
	chargeCash = "cash"
	chargeUnit = "unit"
)

// readCosts returns what a task cost, one entry for each kind and unit. Entries whose
// amount is not a number are left out.
func readCosts(body Object) []tasks.Cost {
	var costs []tasks.Cost
	add := func(amount, unit, kind string) {
		if normal, ok := tasks.Decimal(strings.TrimSpace(amount)); ok {
			costs = append(costs, tasks.Cost{Amount: normal, Unit: unit, Kind: kind})
		}
	}
	for _, bill := range body.Objects("billing") {
		currency, kind := strings.ToUpper(word(bill.Text("currency"))), strings.ToLower(word(bill.Text("charge_type")))
		switch {
		case kind == "" && currency == "":
			kind = chargeUnit
		case kind == "":
			kind = chargeCash
		}
		if kind == chargeUnit {
			currency = ""
		}
		add(bill.Scalar("amount"), cmp.Or(currency, kind), kind)
	}
	if len(costs) == 0 { // the legacy form
		add(body.Scalar("final_unit_deduction"), chargeUnit, chargeUnit)
		add(body.Scalar("final_balance_deduction"), chargeCash, chargeCash)
	}
	return tasks.SumCosts(costs)
}

var oneWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,15}$`)

// word returns a text that is one short word, else an empty one.
func word(text string) string {
	if text = strings.TrimSpace(text); !oneWord.MatchString(text) {
		return ""
	}
	return text
}
