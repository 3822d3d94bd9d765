python -m pip install 'penstock[laptop]==@VERSION@'
