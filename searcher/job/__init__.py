"""What runs on the cluster: the entry points of our jobs. A face, as the command line is: parse, call, tell.

python -m searcher.job run --mode new --owner anna --results s3://bucket/results
python -m searcher.job parcel --sweep digits --results ~/searcher-results/anna/results
python -m searcher.job checkup --results …
python -m searcher.job notice --cloud aws      no job: runs beside Ray on a machine that may be taken away
"""
