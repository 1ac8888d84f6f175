"""Local copies of files and folders in object stores such as Amazon S3."""
