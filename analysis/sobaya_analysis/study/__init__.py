"""Studies: methods compared over seeds, with tuned step sizes, as jobs/study.sh runs them."""
