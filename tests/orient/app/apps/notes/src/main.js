document.title += ' is built'
