"""Table II of the paper as one grid: its rows from one supervised start per seed.

`rows` says what each row is, `grid` trains and judges them, `summary` sets them beside the
paper's figures, and `tables` shows that. Only `grid` needs torch.
"""
