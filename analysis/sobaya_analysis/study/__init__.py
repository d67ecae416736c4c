"""Studies: methods compared over seeds, as configs/studies/*.json and jobs/results.sh have them."""
