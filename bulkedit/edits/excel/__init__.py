"""Excel workbooks: one sheet, with every cell as the text that a spreadsheet shows."""
